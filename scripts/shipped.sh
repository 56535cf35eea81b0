#!/bin/sh
# The recipe of the checkpoint that ships in src/palmar/assets/palmar-tiny. About two hours on two idle cores.
set -e
palmar=${PALMAR:-.venv/bin/palmar}
runs=${RUNS:-runs/shipped}

# 1. Demonstrations: the scripted experts, noise in most of them, worlds randomised at strength 0.7.
$palmar collect --out "$runs/demos" --episodes 1576

# 2. Behaviour cloning from nothing.
$palmar train --data "$runs/demos" --out "$runs/bc" --minutes 38

# 3. What it lacks. DAgger: the learner drives, the expert says at every step what it would have done. Stills: many tables,
#    because a thousand are too few to tell a ball from a cylinder.
$palmar collect --out "$runs/dagger" --episodes 350 --seed 300000 --driver "$runs/bc"
$palmar collect --out "$runs/stills" --episodes 1209 --seed 400000 --stills

# 4. On all of it, from where behaviour cloning stopped.
$palmar train --data "$runs/demos" "$runs/dagger" "$runs/stills" --init "$runs/bc" --out "$runs/final" \
    --lr 7e-4 --batch-size 64 --minutes 35

# 5. What it came to: seeds from 1000 on are for figures that are published, those below for development.
$palmar eval --policy "$runs/final" --episodes 50 --seed 1000 --splits layout wording pair --out "$runs/sim.json"
$palmar eval --policy "$runs/final" --episodes 50 --seed 1000 --world twin --out "$runs/twin.json"
$palmar eval --policy "$runs/final" --episodes 50 --seed 1000 --swap --out "$runs/swap.json"

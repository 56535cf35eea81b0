#!/bin/sh
# The recipe of the checkpoint that ships in src/palmar/assets/palmar-tiny. About an hour and a half on two idle cores.
set -e
palmar=${PALMAR:-.venv/bin/palmar}
runs=${RUNS:-runs/shipped}

# 1. Demonstrations: the scripted experts, noise in half of them, worlds randomised at strength 0.7.
$palmar collect --out "$runs/demos" --episodes 1056

# 2. Behaviour cloning from nothing.
$palmar train --data "$runs/demos" --out "$runs/bc" --minutes 38

# 3. DAgger: the learner drives, the expert says at every step what it would have done.
$palmar collect --out "$runs/dagger" --episodes 300 --seed 300000 --driver "$runs/bc"

# 4. On both, from where behaviour cloning stopped.
$palmar train --data "$runs/demos" "$runs/dagger" --init "$runs/bc" --out "$runs/final" --lr 7e-4 --batch-size 64 --minutes 30

# 5. What it came to.
$palmar eval --policy "$runs/final" --episodes 50 --splits layout wording pair --out "$runs/sim.json"
$palmar eval --policy "$runs/final" --episodes 50 --world twin --out "$runs/twin.json"
$palmar eval --policy "$runs/final" --episodes 50 --swap --out "$runs/swap.json"

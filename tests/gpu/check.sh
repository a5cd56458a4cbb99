#!/usr/bin/env bash
# All that needs a CUDA device, in less than 8 minutes: every test marked `gpu`, then the benchmarks
# that mean something there; what comes out is one file, OUT/gpu_report.md.
#
#     tests/gpu/check.sh [--wheels DIR] [--device cuda|cpu] [--seconds N] [OUT]
#
#   OUT            folder for the report; else $OUT, else gpu_report
#   --wheels DIR   what is not installed comes from the wheels in DIR; no network is needed
#   --device cpu   a dry run: one or two tests of each step, on the CPU
#   --seconds N    for all steps together (460)
#   PYTHON         the interpreter (python3), which has torch and torchvision
#
# Exit: 0 if every step did, else 1; a step that fails or hangs does not keep the others from running.
#
# The wheels, on a machine with a network, for Python 3.12 on x86-64 Linux (30 MB; torch, torchvision
# and numpy are left out, they have to be installed there):
#
#     pip download --dest wheels --no-deps --only-binary :all: --python-version 3.12 \
#         --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
#         captum tqdm matplotlib contourpy cycler fonttools kiwisolver packaging pillow pyparsing \
#         python-dateutil six pytest iniconfig pluggy pygments pytest-xdist execnet pytest-benchmark \
#         py-cpuinfo hypothesis sortedcontainers expecttest
#
# With pyarrow (50 MB more) the tests of whole data sets run too; without it the report names them.
set -uo pipefail

wheels='' device=cuda seconds=460 out=${OUT:-gpu_report}
while [ $# -gt 0 ]; do
    case $1 in
        --wheels) wheels=$(realpath "$2") && shift 2 || exit 2 ;;
        --device) device=$2 && shift 2 || exit 2 ;;
        --seconds) seconds=$2 && shift 2 || exit 2 ;;
        -*) echo "unknown option $1: see the head of $0" >&2 && exit 2 ;;
        *) out=$1 && shift ;;
    esac
done
mkdir -p "$out" && out=$(realpath "$out") || exit 2
cd "$(dirname "$0")/../.." || exit 2

root=$PWD python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$root:$work/site" PYTHONDONTWRITEBYTECODE=1 MPLBACKEND=Agg MPLCONFIGDIR="$work/matplotlib"
export OMP_NUM_THREADS=1 # the CPU's part of a test is small, and there are several workers

# A wheel is an archive of what to import. What the interpreter has already stays its own.
if [ -n "$wheels" ]; then
    "$python" - "$wheels" "$work/site" <<'PYTHON' || exit 2
import pathlib, sys, zipfile
from importlib.metadata import PackageNotFoundError, version

for wheel in sorted(pathlib.Path(sys.argv[1]).glob("*.whl")):
    try:
        version(wheel.name.split("-")[0])
    except PackageNotFoundError:
        zipfile.ZipFile(wheel).extractall(sys.argv[2])
PYTHON
fi

# step NAME LIMIT COMMAND...: its output and exit code are kept; 124 and 137 are those of one that hung.
steps="$work/steps"
mkdir "$steps"
failed=0 number=0
step() {
    local name=$1 limit=$2 status=0 start=$SECONDS left=$((seconds - SECONDS))
    shift 2
    number=$((number + 1))
    local files
    files="$steps/$(printf %02d $number)"
    if [ "$limit" -gt "$left" ]; then limit=$left; fi
    printf '=== %s (at most %d s)\n' "$name" "$limit"
    if [ "$limit" -lt 5 ]; then
        status=124
        echo "no time was left" >"$files.log"
    else
        # An interrupted run of pytest writes down what it has.
        files="$files" timeout --signal=INT --kill-after=10 "$limit" "$@" >"$files.log" 2>&1 || status=$?
    fi
    tail -n 3 "$files.log"
    printf '=== %s: exit %d, %d s\n' "$name" "$status" $((SECONDS - start))
    printf '%s\n%d\n%d\n' "$name" "$status" $((SECONDS - start)) >"$files.step"
    if [ "$status" -ne 0 ]; then failed=1; fi
}

tests() { # NAME LIMIT ARGUMENTS of pytest...
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" bash -c '
        exec "$0" -m pytest -q -p no:cacheprovider --continue-on-collection-errors --junitxml "$files.xml" "$@"' \
        "$python" "$@"
}

benchmarks() { # NAME LIMIT ARGUMENTS of pytest...
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" bash -c '
        exec "$0" -m pytest -q -p no:cacheprovider -n 0 --junitxml "$files.xml" --report "$files.md" "$@"' \
        "$python" "$@" --device "$device"
}

step environment 60 "$python" tests/gpu/summary.py environment "$device"
few=tests/benchmarks
if [ "$device" = cuda ]; then
    # Workers import the suite beside each other; none of its tests needs the device for itself.
    mapfile -t marked < <(grep -rlw --include='test_*.py' gpu tests)
    tests "tests marked gpu" 200 -m gpu "${marked[@]}"
    benchmarks "every model: tables" 60 $few/test_every_model.py -k "(perceptrons and not 4000 and not 1000) or sequences"
    benchmarks "every model: images" 80 $few/test_every_model.py -k "images and (resnet50 or mobilenet or vit)"
    benchmarks "a single pass, refused models" 60 $few/test_speed.py $few/test_memory.py
    benchmarks "hoisting" 60 $few/test_hoisting.py
    benchmarks "training" 40 $few/test_training.py
else
    tests "tests marked gpu, their bodies on the CPU" 100 -m "not gpu" tests/attr/test_on_a_device.py \
        -k "routes_and_numbers and perceptron or as_much_as_is_free"
    benchmarks "every model: tables" 60 $few/test_every_model.py -k "perceptrons and tanh and 16"
    benchmarks "hoisting" 60 $few/test_hoisting.py -k "perceptrons and (20-64 or 30-512)"
    benchmarks "a single pass" 60 $few/test_speed.py -k "refused_mlp and 8"
fi

"$python" tests/gpu/summary.py report "$steps" >"$out/gpu_report.md" || failed=1
echo "report: $out/gpu_report.md"
exit "$failed"

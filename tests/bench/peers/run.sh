#!/usr/bin/env bash
# mlc beside OpenVINO, onnxruntime GenAI and llama.cpp: sets their environments up (once), makes the models (once), runs
# both sides in turns and prints a table; writes it as Markdown and JSON too. Options are those of compare.py; --help.
#   MLC_PEERS_HOME     where everything goes (default build/peers): about 8 GB of environments, 9 GB of models
#   MLC_PEERS_LLAMA    a Python that has llama_cpp already: building it takes 5 minutes of processor time
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
here=tests/bench/peers home=${MLC_PEERS_HOME:-build/peers}

# environment DIR REQUIREMENTS: a virtual environment that has what the file lists.
environment() {
  if ! cmp -s "$here/$2" "$1/$2"; then
    echo "installing $2 into $1" >&2
    python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/$2" >&2
    cp "$here/$2" "$1/$2"
  fi
}

for argument in "$@"; do
  case $argument in
    -h | --help) exec python3 "$here/compare.py" --help ;;
  esac
done
mkdir -p "$home"
environment "$home/env" requirements.txt
llama=${MLC_PEERS_LLAMA:-$home/llama/bin/python}
[ -n "${MLC_PEERS_LLAMA:-}" ] || environment "$home/llama" requirements-llama.txt
exec python3 "$here/compare.py" --models "$home/models" --out "$home/table" \
  --peers-python "$home/env/bin/python" --llama-python "$llama" "$@"

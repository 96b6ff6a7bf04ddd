#!/usr/bin/env bash
# lm-eval's `local-completions`, unchanged, on a small multiple-choice task against mlc-serve:
#   tests/bench/serve/lm_eval.sh MODEL.mlca TOKENIZER_DIR
# lm-eval counts contexts with the checkpoint's tokenizer (TOKENIZER_DIR/tokenizer.json) and sends token ids.
# lm-eval comes from PyPI into a virtual environment of the build. The accuracies are printed beside those of `mlc eval`
# on the same questions, which scores them without a server: both must be equal.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
artifact=$(realpath "${1:?give MODEL.mlca}") tokenizer=$(realpath "${2:?give the folder of its tokenizer.json}")
build=${MLC_BUILD_DIR:-build}
environment=$build/venv-lm-eval
if [ ! -e "$environment/done" ]; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check 'lm-eval[api]==0.4.10' 'transformers<5'
  touch "$environment/done"
fi
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
"$build/bin/mlc-serve" "$artifact" --port 0 --log json 2>"$work/log" &
server=$!
for _ in $(seq 600); do
  grep -q '"event":"ready"' "$work/log" && break
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
port=$(sed -n 's/.*"event":"listening".*"port":\([0-9]*\).*/\1/p' "$work/log")
# lm-eval's form of the same questions: the space before a choice is the delimiter, so that it is not part of its length.
sed 's/\(\["\|", "\) /\1/g' tests/bench/serve/choices.jsonl >"$work/endings.jsonl"
sed "s|@DATA@|$work/endings.jsonl|" tests/bench/serve/choices.yaml >"$work/choices.yaml"
HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 "$environment/bin/lm_eval" run --model local-completions --tasks mlc_choices --include_path "$work" \
  --model_args "model=$(basename "$artifact" .mlca),base_url=http://127.0.0.1:$port/v1/completions,tokenizer_backend=huggingface,tokenizer=$tokenizer,num_concurrent=4,max_retries=1" \
  --batch_size 4 2>"$work/lm-eval.log" || { tail -n 20 "$work/lm-eval.log" >&2; exit 1; }
"$build/bin/mlc" eval "$artifact" --choices tests/bench/serve/choices.jsonl

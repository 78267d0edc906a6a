#!/usr/bin/env bash
# Restores one picture on TensorFlow Serving:   ./client.sh blurry.jpg sharp.png
#
# Needs curl, base64 and sed, which nearly every system has; neither jq nor Python. Takes JPEG and
# PNG, writes PNG. It sends the file as it is: what EXIF says about orientation and what a colour
# profile says about colours is not looked at, and alpha is lost; `restore-tf client` keeps them.
#
# From the environment: SERVER, MODEL_NAME, TIMEOUT (seconds for one attempt), RETRIES (further
# attempts while the server is busy or away), PAUSE (seconds before the first of them, then twice
# as many each time).
set -euo pipefail

server=${SERVER:-http://localhost:8501}
model=${MODEL_NAME:-@MODEL_NAME@}
timeout=${TIMEOUT:-120}
retries=${RETRIES:-5}
pause=${PAUSE:-1}

fail() {
  echo "error: $*" >&2
  exit 1
}

[ $# -eq 2 ] || fail "expected two files: $0 blurry.jpg sharp.png"
input=$1 output=$2
[ -r "$input" ] && [ ! -d "$input" ] || fail "$input: no such file"
[ ! -e "$output" ] || fail "$output: exists"
for tool in curl base64 sed; do
  command -v "$tool" >/dev/null || fail "$tool: not installed"
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch" "$output.part"' EXIT

{
  printf '{"signature_name": "serving_bytes", "instances": [{"image_bytes": {"b64": "'
  base64 <"$input" | tr -d '\r\n'
  printf '"}}]}'
} >"$scratch/request"

attempt=0
while :; do
  failure=0
  status=$(curl --silent --show-error --connect-timeout 10 --max-time "$timeout" \
    --header 'Content-Type: application/json' --data-binary "@$scratch/request" \
    --output "$scratch/answer" --write-out '%{http_code}' \
    "$server/v1/models/$model:predict" 2>"$scratch/errors") || failure=$?
  case $failure:$status in
    0:200) break ;;
    0:429 | 0:503 | 0:504) passing=yes ;;          # busy, or too late
    7:* | 18:* | 28:* | 52:* | 55:* | 56:*) passing=yes ;; # curl: away, broken off, time is up
    *) passing=no ;;
  esac
  if [ "$failure" -ne 0 ]; then
    words=$(cat "$scratch/errors")
  else
    words="$status: $(sed -n 's/.*"error": *"\(.*\)".*/\1/p' "$scratch/answer" | cut -c 1-300)"
  fi
  [ "$passing" = yes ] && [ "$attempt" -lt "$retries" ] || fail "$input: $server: $words"
  sleep "$pause"
  attempt=$((attempt + 1))
  pause=$((pause * 2))
done

# The answer is {"predictions": [{"b64": "…"}]}; base64 has no quotation marks.
sed -n 's/.*"b64": *"\([^"]*\)".*/\1/p' "$scratch/answer" >"$scratch/base64"
[ -s "$scratch/base64" ] || fail "$server: answered without a picture"
# macOS said -D before it learnt -d.
base64 -d <"$scratch/base64" >"$output.part" 2>/dev/null ||
  base64 -D <"$scratch/base64" >"$output.part" ||
  fail "$server: answered with damaged base64"
mv "$output.part" "$output"

#!/usr/bin/env bash
# Starts TensorFlow Serving on an exported model, in docker or, if it is there,
# by tensorflow_model_server. More flags go to the server:
#     examples/serving/start.sh served/diabetes --enable_batching
set -euo pipefail
folder=$(realpath "${1:-served/diabetes}")
name=$(basename "$folder")
shift || true
if command -v tensorflow_model_server >/dev/null; then
    exec tensorflow_model_server --port=8500 --rest_api_port=8501 \
        --model_name="$name" --model_base_path="$folder" "$@"
fi
exec docker run --rm -p 8500:8500 -p 8501:8501 -e MODEL_NAME="$name" \
    --mount type=bind,source="$folder",target=/models/"$name",readonly \
    tensorflow/serving "$@"

"""What one peer makes of a model, in the peer's own environment.

    convert.py openvino-f16 IN.gguf OUT_DIR            OpenVINO GenAI's reading of a GGUF, saved
    convert.py openvino-int4 IN_DIR OUT_DIR GROUP       nncf: u4 weights, embedding and head u8 (optimum-intel's default)
    convert.py onnxruntime-int4 IN_DIR OUT_DIR BLOCK    the GenAI builder: int4 embedding and head, int8 activations
    convert.py llama IN.gguf OUT.gguf q4_0|q4_k_m       llama.cpp's quantizer
"""
import os
import shutil
import subprocess
import sys


def openvino_f16(source, out):
    import openvino_genai
    openvino_genai.LLMPipeline(source, "CPU", enable_save_ov_model=True)
    saved = os.path.dirname(os.path.abspath(source))
    for file in os.listdir(saved):
        if file.startswith("openvino_") and file.endswith((".xml", ".bin")):
            shutil.move(os.path.join(saved, file), os.path.join(out, file))


def openvino_int4(source, out, group):
    import nncf
    import openvino
    model = openvino.Core().read_model(os.path.join(source, "openvino_model.xml"))
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT4_ASYM, group_size=int(group), ratio=1.0)
    openvino.save_model(model, os.path.join(out, "openvino_model.xml"), compress_to_fp16=False)
    for file in os.listdir(source):
        if "tokenizer" in file:
            shutil.copy(os.path.join(source, file), out)


def onnxruntime_int4(source, out, block):
    # The builder looks for anything missing on the network; nothing is.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", os.path.abspath(source), "-o", out,
                    "-p", "int4", "-e", "cpu", "-c", os.path.join(out, "cache"),
                    "--extra_options", "accuracy_level=4", f"block_size={block}"], check=True, env=environment)


def llama(source, out, kind):
    import llama_cpp
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = {"q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, "q4_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M}[kind]
    parameters.nthread = 1
    if llama_cpp.llama_model_quantize(source.encode(), out.encode(), parameters):
        sys.exit(f"llama.cpp does not quantize {source}")


def main():
    commands = {"openvino-f16": openvino_f16, "openvino-int4": openvino_int4, "onnxruntime-int4": onnxruntime_int4,
                "llama": llama}
    if len(sys.argv) < 4 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    if not sys.argv[3].endswith(".gguf"):
        os.makedirs(sys.argv[3], exist_ok=True)
    commands[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()

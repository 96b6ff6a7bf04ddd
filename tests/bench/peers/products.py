"""Single int4 products of the peers beside linear_bench's, in turns: K 4096, N 14336, 512 rows and one row.

    products.py --bench build/bench/linear_bench [--threads 2] [--rounds 3] [--json OUT]     in the peers' environment

The peers quantize activations within the product, so ours is the figure with quantization. Weights of one row's
products rotate beyond the last-level cache on every side.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np

K, N = 4096, 14336
ROWS = {"gemm-g128": (128, 512), "gemm-g32": (32, 512), "decode-g128": (128, 1)}  # Group, rows.
ROTATION = 256 << 20


def openvino_product(group, threads):
    """A function of x f32[rows, K]: u4 weights with zero points, activations quantized in groups of the same size."""
    import openvino
    from openvino import opset13 as ops
    random = np.random.default_rng(0)
    packed = random.integers(0, 256, N * K // 2, np.uint8)
    zeros = np.full(N * K // group // 2, 0x88, np.uint8)
    weights = ops.constant(openvino.Tensor(packed, openvino.Shape([N, K // group, group]), openvino.Type.u4))
    offsets = ops.constant(openvino.Tensor(zeros, openvino.Shape([N, K // group, 1]), openvino.Type.u4))
    scales = ops.constant(random.random((N, K // group, 1), np.float32) * 0.01)
    values = ops.multiply(ops.subtract(ops.convert(weights, "f32"), ops.convert(offsets, "f32")), scales)
    x = ops.parameter([-1, K], np.float32)
    values = ops.reshape(values, ops.constant(np.array([N, K])), False)
    model = openvino.Model([ops.matmul(x, values, False, True)], [x])
    compiled = openvino.Core().compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "DYNAMIC_QUANTIZATION_GROUP_SIZE": group, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()

    def run(values, _alive=(compiled, packed, zeros)):
        # OpenVINO does not keep the arrays behind its constants.
        request.infer([values], share_inputs=True)

    return run


def onnxruntime_product(group, threads):
    import onnx
    import onnxruntime
    random = np.random.default_rng(0)
    weights = random.integers(0, 256, (N, K // group, group // 2), np.uint8)
    scales = random.random(N * K // group, np.float32) * np.float32(0.01)
    node = onnx.helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=K, N=N, bits=4,
                                 block_size=group, accuracy_level=4)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "product", [value("x", onnx.TensorProto.FLOAT, ["rows", K])],
                                   [value("y", onnx.TensorProto.FLOAT, ["rows", N])],
                                   [onnx.numpy_helper.from_array(weights, "w"),
                                    onnx.numpy_helper.from_array(scales, "s")])
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[
        onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle threads would spin into the other sides' time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])

    def run(values):
        session.run(None, {"x": values})

    return run


PEERS = {"openvino": openvino_product, "onnxruntime": onnxruntime_product}


def seconds(products, rows, repetitions):
    """Seconds of a product, the median; the products are alike and take turns."""
    x = np.random.default_rng(1).standard_normal((rows, K), np.float32)
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        for product in products:
            product(x)
        times.append((time.perf_counter() - start) / len(products))
    return statistics.median(times[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bench", default="build/bench/linear_bench")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--json", metavar="OUT")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.rows.split(","):
        group, rows = ROWS[name]
        # 4 bits a weight and a scale of 16, as ours; a peer's wider scales are its own loss.
        size = N * K * (4 + 16 / group) / 8
        work = 2e-9 * rows * N * K if rows > 1 else 1e-9 * size
        count = 1 if rows > 1 else -(-ROTATION // int(size))
        made = {peer: [PEERS[peer](group, arguments.threads) for _ in range(count)]
                for peer in arguments.peers.split(",")}
        rates = {"mlc": [], "ceiling": [], **{peer: [] for peer in made}}
        for _ in range(arguments.rounds):
            report = subprocess.run([arguments.bench, name, "--threads", str(arguments.threads), "--rounds", "1",
                                     "--json"], check=True, capture_output=True, text=True, timeout=120)
            ours = json.loads(report.stdout)[name]
            rates["mlc"].append(ours["product_with_quantization"])
            rates["ceiling"].append(ours["ceiling"])
            for peer, products in made.items():
                rates[peer].append(work / seconds(products, rows, 4))
        medians = {side: statistics.median(values) for side, values in rates.items()}
        results[name] = dict(unit=ours["unit"], rates=rates, medians=medians)
        print(f"{name} {ours['unit']}: " + ", ".join(
            f"{side} {value:.1f} ({value / medians['ceiling']:.2f})" for side, value in medians.items()), flush=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(dict(threads=arguments.threads, products=results), file, indent=1)


if __name__ == "__main__":
    sys.exit(main())

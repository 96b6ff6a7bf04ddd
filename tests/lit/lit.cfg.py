# The lit suite. Features: shared-data, cuda-images (built with nvcc), attention-images, nvdisasm, ptxas, emulated-gpu, x86-registered-target and its
# siblings, host-x86_64 and its siblings, private-mount, ISA features of this machine.
import glob
import os
import platform
import subprocess

import lit.formats

config.name = "mlc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(os.path.abspath(__file__))

if not hasattr(config, "mlc_build_dir"):
    lit_config.fatal("use the llvm-lit of a build, e.g. build/bin/llvm-lit tests/lit/Dialect")
config.test_exec_root = os.path.join(config.mlc_build_dir, "tests", "lit")

bin_dir = os.path.join(config.mlc_build_dir, "bin")
config.environment["PATH"] = os.pathsep.join([bin_dir, config.llvm_tools_dir, "/usr/bin", "/bin"])
config.environment["LC_ALL"] = "C.UTF-8"
config.environment["PYTHONDONTWRITEBYTECODE"] = "1"
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

config.substitutions.append(("%python", config.python))
config.substitutions.append(("%refused", f"{config.python} {os.path.join(config.test_source_root, 'Inputs', 'refused.py')}"))
config.substitutions.append(("%inputs", os.path.join(config.test_source_root, "Inputs")))
config.substitutions.append(("%{mlc-run}", os.path.join(bin_dir, "mlc-run")))
config.substitutions.append(("%models", os.path.join(config.mlc_source_dir, "models")))

shared = os.environ.get("MLC_SHARED_DATA") or os.path.join(config.mlc_source_dir, "..", "shared", "data")
if os.path.isdir(shared):
    config.available_features.add("shared-data")
    config.substitutions.append(("%shared", os.path.realpath(shared)))

if config.cuda_images:
    config.available_features.add("cuda-images")
    config.substitutions.append(("%cuda-images", config.cuda_images))
    # libmlc_cuda_attention.so is built when asked for.
    attention = os.path.join(config.cuda_images, "mlc_attention_images")
    if glob.glob(os.path.join(attention, "*.cubin")):
        config.available_features.add("attention-images")
        config.substitutions.append(("%attention-images", attention))
if os.path.exists(config.nvdisasm):
    config.available_features.add("nvdisasm")
    config.substitutions.append(("%nvdisasm", config.nvdisasm))
if os.path.exists(config.ptxas):
    config.available_features.add("ptxas")
    config.substitutions.append(("%ptxas", config.ptxas))
# A driver whose GPU is emulated, and one that cannot be loaded.
fake_driver = os.path.join(config.mlc_build_dir, "tests", "cuda")
if os.path.exists(os.path.join(fake_driver, "libcuda.so.1")):
    config.available_features.add("emulated-gpu")
    config.substitutions.append(("%gpu-linear-bench", os.path.join(config.mlc_build_dir, "bench", "gpu_linear_bench")))
    config.substitutions.append(("%gpu-ssd-bench", os.path.join(config.mlc_build_dir, "bench", "gpu_ssd_bench")))
    config.substitutions.append(("%with-gpu", f"env LD_LIBRARY_PATH={fake_driver}"))
for target in config.llvm_targets.split(";"):
    config.available_features.add(target.lower() + "-registered-target")
config.available_features.add("host-" + platform.machine())
# A tmpfs of the test's own, for a disk that fills up: root, or a user who may make user namespaces.
unshare = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
try:
    subprocess.run(unshare + ["sh", "-c", "mount -t tmpfs none /mnt"], check=True, capture_output=True, timeout=10)
    config.available_features.add("private-mount")
    config.substitutions.append(("%unshare", " ".join(unshare)))
except (OSError, subprocess.SubprocessError):
    pass

# As the kernel spells them: avx2, avx512_vnni, asimddp, i8mm, ...
try:
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith(("flags", "Features")):
                config.available_features.update(line.split(":", 1)[1].split())
                break
except OSError:
    pass

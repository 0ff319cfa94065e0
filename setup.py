"""Builds the compiled RoI layers (`csrc/`) and installs the project; its metadata is in pyproject.toml.

    python setup.py build develop                  builds, and makes this checkout importable from the environment
    pip install -e . --no-build-isolation          the same through pip
    FORCE_CUDA=1 python setup.py build develop     CUDA kernels too, on a machine with nvcc and no GPU

The CPU kernels are built wherever there is a C++ compiler, the CUDA kernels where there is also nvcc and a GPU that torch
can use. Without a compiler the install still succeeds: the operators then come from torchvision.
Environment: `FORCE_CUDA=1|0`, `TORCH_CUDA_ARCH_LIST` (default: the GPU that is there, else "8.0;9.0+PTX"), `CXX`,
`MAX_JOBS`.
"""

import contextlib
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Command, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
OPERATORS = ("roi_align", "roi_pool", "nms")
# The oldest libtorch that the binary runs on; csrc uses nothing newer.
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020a000000000000"
# The trees lie at the top of a checkout and inside the one package `repmet` where it is installed.
TREES = ("classification", "detection", "model_definitions", "experiments", "data", "benchmarks", "csrc")
METADATA_COMMANDS = {"egg_info", "dist_info", "sdist", "clean", "--help", "--version", "--name"}


def notice(text: str) -> None:
    print(f"\n*** csrc: {text}\n", file=sys.stderr)


def find_compiler() -> str | None:
    """The C++ compiler that `CXX` names, else the usual names in order; None if there is none."""
    named = os.environ.get("CXX")
    for name in [named] if named else ["c++", "g++", "clang++"]:
        if shutil.which(name.split()[0]):
            return name
    return None


def find_cuda() -> str | None:
    """The CUDA toolkit: CUDA_HOME, else where nvcc on the path lies (it may be a mere wrapper), else the usual folder."""
    named = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = shutil.which("nvcc")
    guesses = [Path(named)] if named else [*([Path(nvcc).resolve().parents[1]] if nvcc else []), Path("/usr/local/cuda")]
    for home in guesses:
        if (home / "bin" / "nvcc").is_file() and (home / "include" / "cuda_runtime.h").is_file():
            return str(home)
    return None


def wants_cuda(torch, home: str | None) -> bool:
    """Whether to build the CUDA kernels. Raises SystemExit where FORCE_CUDA=1 asks for what cannot be."""
    setting = os.environ.get("FORCE_CUDA", "")
    if setting == "0":
        return False
    if setting == "1":
        if torch.version.cuda is None:
            raise SystemExit(f"FORCE_CUDA=1: torch {torch.__version__} has no CUDA. Install a CUDA build of torch.")
        if home is None:
            raise SystemExit("FORCE_CUDA=1: no CUDA toolkit found. Install it, or set CUDA_HOME to its folder.")
        return True
    return home is not None and torch.version.cuda is not None and torch.cuda.is_available()


def extensions() -> tuple[list, dict]:
    """The extension modules to build and the command that builds them."""
    if set(sys.argv[1:]) & METADATA_COMMANDS and not {"build", "build_ext", "develop", "install"} & set(sys.argv[1:]):
        return [], {}
    compiler = find_compiler()
    if compiler is None:
        notice("no C++ compiler (CXX, c++, g++ or clang++), so the RoI layers are not compiled and come from torchvision.")
        return [], {}
    home = find_cuda()
    if home:
        os.environ["CUDA_HOME"] = home
    try:
        import torch
        from torch.utils import cpp_extension
    except ImportError as error:
        notice(f"torch cannot be imported ({error}), so the RoI layers are not compiled and come from torchvision.")
        return [], {}
    os.environ["CXX"] = compiler
    os.environ["PATH"] = sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", "")  # ninja may be there

    headers = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").glob("*.h"))
    flags = ["-O3", "-g0", "-fvisibility=hidden", "-Wno-psabi", STABLE_ABI]
    modules = [
        cpp_extension.CppExtension(
            "repmet.csrc._cpu",
            ["csrc/registration.cpp", *(f"csrc/{name}.cpp" for name in OPERATORS)],
            depends=headers,
            extra_compile_args={"cxx": flags},
            py_limited_api=True,
        )
    ]
    if wants_cuda(torch, home):
        if not os.environ.get("TORCH_CUDA_ARCH_LIST"):
            here = torch.cuda.is_available()
            os.environ["TORCH_CUDA_ARCH_LIST"] = (
                "{}.{}".format(*torch.cuda.get_device_capability()) if here else "8.0;9.0+PTX"
            )
        modules.append(
            cpp_extension.CUDAExtension(
                "repmet.csrc._cuda",
                [f"csrc/{name}.cu" for name in OPERATORS],
                depends=headers + sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").glob("*.cuh")),
                extra_compile_args={
                    "cxx": [*flags, "-DUSE_CUDA"],
                    "nvcc": ["-O3", "-DUSE_CUDA", STABLE_ABI, "--threads=2", "--expt-relaxed-constexpr"],
                },
                py_limited_api=True,
            )
        )
    elif home and torch.version.cuda:
        notice("no GPU in sight, so only the CPU kernels are built; FORCE_CUDA=1 builds those for CUDA too.")

    class BuildExtension(cpp_extension.BuildExtension):
        def build_extension(self, ext) -> None:
            """Objects of each library in a folder of their own: roi_align.cpp and roi_align.cu both make roi_align.o."""
            folder = self.build_temp
            self.build_temp = str(Path(folder) / ext.name)
            try:
                super().build_extension(ext)
            finally:
                self.build_temp = folder

    return modules, {"build_ext": BuildExtension.with_options(no_python_abi_suffix=True)}


class BuildPy(build_py):
    """Leaves nothing of an earlier build in the wheel but the compiled libraries, whose sources are compared anew."""

    def run(self) -> None:
        for path in sorted(Path(self.build_lib).rglob("*"), reverse=True):
            if path.is_dir():
                with contextlib.suppress(OSError):  # a library is in it
                    path.rmdir()
            elif path.suffix != ".so" or path.relative_to(self.build_lib).parts[0] != "repmet":
                path.unlink()
        super().run()


class Develop(Command):
    """Build in place, put this checkout on the environment's path, and the command `repmet` among its programs.

    setuptools' own command of this name calls pip in an isolated environment, which has no torch and may have to download
    one; an environment made by uv has no pip at all. This one writes what an editable install consists of: metadata, a
    .pth file and the program. pip and uv list and uninstall it like any other.
    """

    description = "build csrc in place and install the checkout in editable mode"
    user_options = [("install-dir=", "d", "folder to install to (default: the environment's site-packages)")]  # noqa: RUF012

    def initialize_options(self) -> None:
        self.install_dir = None

    def finalize_options(self) -> None:
        self.site = Path(self.install_dir or sysconfig.get_path("purelib"))
        self.programs = self.site / "bin" if self.install_dir else Path(sysconfig.get_path("scripts"))

    def run(self) -> None:
        self.run_command("build_ext")  # does nothing where `build` came before
        self.get_finalized_command("build_ext").copy_extensions_to_source()
        name, version = self.distribution.get_name(), self.distribution.get_version()
        try:
            self.site.mkdir(parents=True, exist_ok=True)
            for old in [*self.site.glob(f"{name}-*.dist-info"), *self.site.glob(f"__editable__*{name}*")]:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            pth = self.site / f"__editable__.{name}-{version}.pth"
            pth.write_text(f"{ROOT}\n", encoding="utf-8")
            self.write_metadata([pth, self.write_program()])
        except PermissionError as error:
            raise SystemExit(
                f"develop: cannot write to {self.site} ({error}). Run it inside a virtual environment."
            ) from error
        print(f"{name} {version}: {ROOT} is now on the path of {sys.prefix}")

    def write_program(self) -> Path:
        """The command `repmet` of this interpreter."""
        self.programs.mkdir(parents=True, exist_ok=True)
        if os.name == "nt":
            program, text = self.programs / "repmet.cmd", f'@"{sys.executable}" -m repmet %*\n'
        else:
            program, text = self.programs / "repmet", f"#!{sys.executable}\nfrom repmet.command import run\n\nrun()\n"
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
        return program

    def write_metadata(self, written: list[Path]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.reinitialize_command("dist_info", output_dir=folder)
            self.run_command("dist_info")
            (made,) = Path(folder).glob("*.dist-info")
            target = self.site / made.name
            shutil.copytree(made, target)
        origin = {"url": ROOT.as_uri(), "dir_info": {"editable": True}}
        (target / "direct_url.json").write_text(json.dumps(origin), encoding="utf-8")
        (target / "INSTALLER").write_text("setup.py\n", encoding="utf-8")
        files = [*written, *sorted(target.iterdir()), target / "RECORD"]
        record = "".join(f"{Path(os.path.relpath(file, self.site)).as_posix()},,\n" for file in files)
        (target / "RECORD").write_text(record, encoding="utf-8")


def packages() -> dict[str, str]:
    """Every package by its full name, with its folder here."""
    folders = {f"repmet.{tree}": tree for tree in TREES} | {"repmet": "repmet"}
    if (ROOT / "models" / "weights").is_dir():
        folders["repmet.models.weights"] = "models/weights"
    inner = {
        f"{name}.{sub}": f"{folder}/{sub.replace('.', '/')}"
        for name, folder in folders.items()
        for sub in find_packages(folder)
    }
    return folders | inner


modules, commands = extensions()
setup(
    packages=sorted(packages()),
    package_dir=packages(),
    ext_modules=modules,
    cmdclass={**commands, "build_py": BuildPy, "develop": Develop},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if modules else {},
)

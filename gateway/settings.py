"""gateway.toml as one frozen object.

A value comes from the environment (``GATEWAY_DIMSE__PORT=11113``), else from the file, else
from the default written here. Secrets never stand in the file: they come from the environment
or from files that the settings name.
"""

import copy
import ipaddress
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import ConfigurationInvalid, Problem
from gateway.positions import Location, load_toml, nearest, problems
from gateway.source_query import KEYWORDS, objection

ENVIRONMENT_PREFIX = "GATEWAY_"
_ENVIRONMENT = Path("environment")
SEARCH_PATH = (Path("gateway.toml"), Path("/etc/gateway/gateway.toml"))

AeTitle = Annotated[
    str,
    Field(
        min_length=1, max_length=16, pattern=r"^[\x21-\x5b\x5d-\x7e]+( *[\x21-\x5b\x5d-\x7e]+)*$"
    ),
]
"""An application entity title (PS3.5 table 6.2-1, AE): 1 to 16 characters, no backslash."""
Port = Annotated[int, Field(ge=0, le=65535)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeSettings(_Table):
    """The node itself: its name and where it keeps things."""

    ae_title: AeTitle = "GATEWAY"
    """AE title the node answers to and calls with."""
    data_dir: Path = Path("/var/lib/gateway")
    """Folder of objects/, index.sqlite, workflow.sqlite, quarantine/ and logs/."""
    rules_dir: Path = Path("routing_rules")
    """Folder of the rule files; a relative path starts at the settings file."""
    models_dir: Path = Path("models")
    """Folder of the MONAI bundles; a relative path starts at the settings file."""
    reserve_gb: float = Field(default=5, ge=0)
    """Free space in GB below which nothing new is accepted: 5 keeps a day of results."""


class AllowedPeer(_Table):
    """A peer that may open associations."""

    ae_title: AeTitle
    """Calling AE title that is let in."""
    host: str | None = None
    """Address, network (10.0.0.0/24) or name it must come from; left out, any address."""


class TlsSettings(_Table):
    """The secure DICOM port (PS3.15 section B.12); files are PEM."""

    port: Annotated[int, Field(ge=1, le=65535)] = 2762
    """Port to listen on; 2762 is IANA's for DICOM over TLS."""
    certificate: Path
    """The node's certificate, followed by those of the authorities between."""
    key: Path
    """Its private key, without a passphrase; readable by the node's user only."""
    authorities: Path | None = None
    """Certificates of the authorities that peers' certificates must come from."""
    require_peer_certificate: bool = True
    """Whether a peer must show a certificate of one of the authorities."""
    only: bool = False
    """Whether the port without TLS stays closed."""


class PeerTls(_Table):
    """How a peer is called over TLS; files are PEM."""

    authorities: Path
    """Certificates of the authorities that the peer's certificate must come from."""
    certificate: Path | None = None
    """The node's own certificate, where the peer asks for one."""
    key: Path | None = None
    """Its private key."""
    check_host: bool = True
    """Whether the peer's certificate must name the host that is called."""


class DimseSettings(_Table):
    """The DICOM port."""

    bind: str = "0.0.0.0"  # noqa: S104 - modalities reach a DICOM node over the hospital network
    """Address to listen on."""
    port: Port = 11112
    """Port to listen on; 11112 needs no privilege and is IANA's for DICOM."""
    receivers: int = Field(default=0, ge=0, le=64)
    """Receiver processes that share the port; 0: one per core."""
    allow: tuple[AllowedPeer, ...] = ()
    """Peers that may send; empty: anyone, with a warning at start."""
    quiet_seconds: float = Field(default=5, ge=0, le=3600)
    """How long a series stays quiet after its associations ended before it is complete."""
    longest_quiet_seconds: float = Field(default=60, ge=0, le=3600)
    """Longest quiet time of a peer that resumes its series after pauses: 60 s is what others
    wait for everybody. Whoever sends again after more than that sends anew."""
    ceiling_seconds: float = Field(default=3600, gt=0)
    """How long a series may be receiving at most: a sender that keeps its association open for
    the working day must not keep its series from the models."""
    called_ae_titles: tuple[AeTitle, ...] = ()
    """AE titles that peers may call the node by; empty: any."""
    maximum_associations: int = Field(default=256, ge=1, le=1000)
    """Open associations of the node; more are rejected as a passing condition."""
    maximum_associations_per_peer: int = Field(default=64, ge=1, le=1000)
    """Open associations of one peer (AE title and address), so that none takes all."""
    idle_seconds: float = Field(default=60, ge=1, le=3600)
    """Silence after which an association is aborted, so that no series waits on a dead peer."""
    tls: TlsSettings | None = None
    """The secure DICOM port; left out, none."""


class WebSettings(_Table):
    """The HTTP port."""

    bind: str = "127.0.0.1"
    """Address to listen on; only this machine unless somebody decides otherwise."""
    port: Port = 8080
    """Port to listen on."""
    allow_unauthenticated: bool = False
    """Whether anybody who reaches an address beyond this machine may store instances and search:
    there is no authentication yet, so that is for networks where every machine is trusted."""

    @property
    def serves_dicomweb(self) -> bool:
        """Whether DICOMweb is served: to this machine only, or to anybody on purpose."""
        return self.allow_unauthenticated or _is_loopback(self.bind)


def _is_loopback(bind: str) -> bool:
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return bind == "localhost"


class DeliverySettings(_Table):
    """How often a node that does not take an object is tried again."""

    first_retry_seconds: float = Field(default=30, gt=0)
    """Pause after the first failed attempt; it doubles with each further one."""
    longest_retry_seconds: float = Field(default=600, gt=0)
    """Longest pause between two attempts."""
    give_up_days: float = Field(default=7, gt=0)
    """Age at which an undelivered job is given up: a PACS may be away for a long weekend."""


class DeidentificationSettings(_Table):
    """How pseudonyms are made, where a rule says ``deidentify``."""

    key_file: Path | None = None
    """File that holds the key of pseudonyms, 64 hexadecimal digits; left out,
    ``deidentification.key`` under data_dir. It is made where there is none and nothing was
    de-identified yet."""
    words: tuple[str, ...] = ()
    """Words that descriptions keep beside the vocabulary, such as a site's own abbreviations."""


class DatabaseSettings(_Table):
    """The index and workflow database; left out, SQLite files under data_dir."""

    url: str | None = None
    """SQLAlchemy URL of a PostgreSQL database, for nodes of several machines."""


OutputName = Literal["seg", "labelmap", "fractional", "sr", "sc", "rtstruct"]
"""A kind of result object; models' descriptors list the same ones."""
TransferSyntaxName = Literal[
    "explicit-vr-little-endian",
    "implicit-vr-little-endian",
    "deflated-explicit-vr-little-endian",
    "rle-lossless",
    "jpeg-2000-lossless",
    "jpeg-ls-lossless",
]


class ResultSettings(_Table):
    """In which forms a node gets what models make; what is left out suits every receiver."""

    outputs: Annotated[tuple[OutputName, ...], Field(min_length=1)] | None = None
    """Kinds of objects that the node takes; left out, all that a model's descriptor lists. A
    node that takes only one of ``seg`` and ``labelmap`` gets that one in place of the other."""
    omit_empty_frames: bool = True
    """Whether frames without voxels are left out of segmentations; some viewers need them."""
    max_frames: int = Field(default=0, ge=0)
    """Most frames of one segmentation; one with more becomes several, each of whole segments.
    0: no limit."""
    transfer_syntax: TransferSyntaxName = "explicit-vr-little-endian"
    """How objects are encoded, those that can be; what cannot is Explicit VR Little Endian."""


class DimseNode(_Table):
    """A peer that speaks DIMSE."""

    kind: Literal["dimse"]
    ae_title: AeTitle
    """AE title to call."""
    host: str
    """Name or address of the peer."""
    port: Annotated[int, Field(ge=1, le=65535)] = 104
    """Port of the peer."""
    storage_commitment: bool = False
    """Whether the peer is asked to confirm what it stored."""
    tls: PeerTls | None = None
    """Left out, the peer is called without TLS."""
    counts_for: tuple[AeTitle, ...] = ()
    """Calling AE titles whose series this peer is asked to count by C-FIND, so that they are
    complete as soon as that many instances are here."""
    results: ResultSettings = ResultSettings()
    """In which forms the peer gets what models make."""


class DicomwebNode(_Table):
    """A peer that speaks DICOMweb."""

    kind: Literal["dicomweb"]
    url: str
    """Base address of its services."""
    token_file: Path | None = None
    """File that holds a bearer token."""
    counts_for: tuple[AeTitle, ...] = ()
    """Calling AE titles whose series this peer is asked to count by QIDO-RS."""
    results: ResultSettings = ResultSettings()
    """In which forms the peer gets what models make."""


class HealthImagingNode(_Table):
    """A data store of AWS HealthImaging; credentials are found as the AWS SDKs find them."""

    kind: Literal["healthimaging"]
    region: str
    """Region of the data store, as us-east-1."""
    datastore_id: str
    """Id of the data store."""
    upload: Literal["stow", "import-job"] = "stow"
    """How instances are sent: by STOW-RS, or by S3 and import jobs, which take larger series."""
    input_s3_uri: str | None = None
    """Where import jobs read from; instances are staged there, each job in a folder of its own."""
    output_s3_uri: str | None = None
    """Where import jobs write their results."""
    role_arn: str | None = None
    """Role that import jobs read and write as."""
    maximum_import_jobs: int = Field(default=20, ge=1, le=1000)
    """Import jobs of this node at once: 20 is the least that an account has in any region."""
    endpoint_url: str = ""
    """Address of a stand-in for all of the service; empty: AWS."""
    s3_endpoint_url: str = ""
    """Address of a stand-in for S3; empty: AWS."""
    results: ResultSettings = ResultSettings()
    """In which forms the data store gets what models make."""


Node = Annotated[DimseNode | DicomwebNode | HealthImagingNode, Field(discriminator="kind")]


class SourceSettings(_Table):
    """Something to pull from."""

    node: str
    """Name of the node that is asked."""
    every_seconds: float = Field(default=60, gt=0)
    """Pause between two questions."""
    query: Mapping[str, str] = {}
    """What is pulled, by DICOM keywords; empty: everything."""
    primary_only: bool = True
    """Whether image sets that conflict with another of their study stay where they are."""


class Settings(_Table):
    """Everything gateway.toml says, with its defaults."""

    node: NodeSettings = NodeSettings()
    dimse: DimseSettings = DimseSettings()
    web: WebSettings = WebSettings()
    database: DatabaseSettings = DatabaseSettings()
    delivery: DeliverySettings = DeliverySettings()
    deidentification: DeidentificationSettings = DeidentificationSettings()
    nodes: Mapping[str, Node] = {}
    sources: Mapping[str, SourceSettings] = {}

    @property
    def pseudonym_key_file(self) -> Path:
        """File that holds the key of pseudonyms."""
        return self.deidentification.key_file or self.node.data_dir / "deidentification.key"

    @property
    def pulled_sources(self) -> tuple[str, ...]:
        """Names of the sources that this version pulls from: those on nodes of HealthImaging."""
        return tuple(
            name
            for name, source in self.sources.items()
            if isinstance(self.nodes[source.node], HealthImagingNode)
        )

    @property
    def index_url(self) -> str:
        """SQLAlchemy URL of the index."""
        return self._database_url("index.sqlite")

    @property
    def workflow_url(self) -> str:
        """SQLAlchemy URL of the workflow engine's system database."""
        return self._database_url("workflow.sqlite")

    def _database_url(self, file_name: str) -> str:
        if self.database.url is not None:
            return self.database.url.replace("postgresql://", "postgresql+psycopg://", 1)
        return f"sqlite:///{self.node.data_dir / file_name}"


def find_settings_file(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the settings file: the one named, GATEWAY_CONFIG's, or the first that exists."""
    if named is not None:
        return named
    if "GATEWAY_CONFIG" in environment:
        return Path(environment["GATEWAY_CONFIG"])
    return next((path for path in SEARCH_PATH if path.is_file()), None)


def load_settings(file: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and validate a settings file, with the environment's values over it.

    Relative folders start at the file's own folder.

    Raises:
        ConfigurationInvalid: with every problem and its position.
    """
    if not file.is_file():
        raise ConfigurationInvalid([Problem(file, 0, 0, "no such settings file")])
    document = load_toml(file)
    try:
        settings = Settings.model_validate(_overlaid(document.data, environment))
    except ValidationError as error:
        raise ConfigurationInvalid(problems(file, document, error, model=Settings)) from error
    contradictions = [
        document.problem(file, place, message) for place, message in _contradictions(settings)
    ]
    if contradictions:
        raise ConfigurationInvalid(contradictions)
    return _anchored(settings, file.resolve().parent)


def _overlaid(data: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    merged: dict[str, Any] = copy.deepcopy(dict(data))
    for name, value in environment.items():
        path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if name.startswith(ENVIRONMENT_PREFIX) and len(path) > 1:
            _set_by_environment(merged, name, path, value)
    return merged


def _set_by_environment(
    settings: dict[str, Any], name: str, path: Sequence[str], value: str
) -> None:
    table: Any = settings
    for word in path[:-1]:
        key = _spelled(table, word)
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            message = f"{name}: `{key}` is a value, not a table; nothing can be set inside it"
            raise ConfigurationInvalid([Problem(_ENVIRONMENT, 0, 0, message)])
    try:
        table[_spelled(table, path[-1])] = _environment_value(value)
    except json.JSONDecodeError as error:
        message = f"{name}: lists and tables are written as JSON, and this is none: {error.msg}"
        raise ConfigurationInvalid([Problem(_ENVIRONMENT, 0, 0, message)]) from error


def _spelled(table: Mapping[str, Any], word: str) -> str:
    """Return the file's spelling of a key: environment variables have no lower case."""
    return next((key for key in table if key.lower() == word), word)


def _environment_value(text: str) -> Any:
    """Lists and tables are written as JSON; everything else is text that pydantic converts."""
    return json.loads(text) if text[:1] in ("[", "{") else text


def _contradictions(settings: Settings) -> Iterator[tuple[Location, str]]:
    """Yield what one part of the settings says against another: where, and what."""
    for name, source in settings.sources.items():
        yield from _of_source(name, source, settings.nodes.get(source.node))
    yield from _counted_twice(settings.nodes)
    for name, node in settings.nodes.items():
        if isinstance(node, HealthImagingNode) and node.upload == "import-job":
            yield from _without_import_places(name, node)


def _of_source(
    name: str, source: SourceSettings, node: Node | None
) -> Iterator[tuple[Location, str]]:
    """Only what a data store can be asked is asked of it: a key it ignores would pull too much."""
    place: Location = ("sources", name)
    if node is None:
        yield (*place, "node"), f"no node named {source.node!r}"
    if name in _DOORS or len(name) > _LONGEST_SOURCE_NAME:
        yield place, f"name the source otherwise: not {', '.join(_DOORS)}, up to 64 characters"
    if isinstance(node, HealthImagingNode):
        for keyword, value in source.query.items():
            if why := _objection(keyword, value):
                yield (*place, "query", keyword), f"{keyword}: {why}"


def _objection(keyword: str, value: str) -> str:
    if keyword in KEYWORDS:
        return objection(keyword, value)
    known = f"; it can by {', '.join(KEYWORDS)}; let a rule test the rest"
    return f"HealthImaging cannot be searched by it{nearest(keyword, KEYWORDS) or known}"


def _counted_twice(nodes: Mapping[str, Node]) -> Iterator[tuple[Location, str]]:
    """Two nodes may count differently, and only one answer can be waited for."""
    counted_by: dict[str, str] = {}
    for name, node in nodes.items():
        for number, ae_title in enumerate(getattr(node, "counts_for", ())):
            other = counted_by.setdefault(ae_title, name)
            if other != name:
                message = f"series of {ae_title} are counted by node {other!r} already; remove one"
                yield ("nodes", name, "counts_for", number), message


def _without_import_places(name: str, node: HealthImagingNode) -> Iterator[tuple[Location, str]]:
    """An import job reads and writes S3 as a role; without one of them it never starts."""
    for key, pattern, form in _IMPORT_PLACES:
        value = getattr(node, key)
        if value is None or not pattern.fullmatch(value):
            place = ("nodes", name, "upload" if value is None else key)
            yield place, f'upload = "import-job" needs {key}, of the form {form}'


_DOORS = ("c-store", "stow", "result")
"""What the fact `source` of rules says of instances that are not pulled."""
_LONGEST_SOURCE_NAME = 64
_S3_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_ROLE_ARN = re.compile(r"arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/.+")
_IMPORT_PLACES = (
    ("input_s3_uri", _S3_URI, "s3://BUCKET/PREFIX"),
    ("output_s3_uri", _S3_URI, "s3://BUCKET/PREFIX"),
    ("role_arn", _ROLE_ARN, "arn:aws:iam::ACCOUNT:role/NAME"),
)
_ANCHORED = frozenset(
    {
        *("data_dir", "rules_dir", "models_dir", "token_file", "key_file"),
        *("certificate", "key", "authorities"),
    }
)


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Return the settings with every relative path beginning at the settings file."""

    def anchor(value: Any) -> Any:
        if isinstance(value, _Table):
            fields = type(value).model_fields
            return value.model_copy(
                update={
                    name: folder / found
                    if name in _ANCHORED and isinstance(found, Path)
                    else anchor(found)
                    for name in fields
                    if isinstance(found := getattr(value, name), Path | _Table | Mapping)
                }
            )
        if isinstance(value, Mapping):
            return {key: anchor(found) for key, found in value.items()}
        return value

    return cast(Settings, anchor(settings))

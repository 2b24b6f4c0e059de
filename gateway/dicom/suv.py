"""The factor that turns the values of a PET series into uptake values by body weight, in g/ml.

The rules are those of QIBA's vendor-neutral pseudo-code (RSNA QIBA FDG-PET/CT profile, annex on
SUV), with what it leaves to chance refused: nothing about dose, weight or time is made up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage
from pydicom.valuerep import DT

from gateway.dicom.reasons import InputReason, named
from gateway.errors import InputRefused

PHILIPS_PET = "Philips PET Private Group"
"""Creator of the private elements (7053,xx00), SUV factor, and (7053,xx09), activity factor."""

GE_PET = "GEMS_PETD_01"
"""Creator of the private element (0009,xx0D), date and time of the scan."""

LONGEST_UPTAKE = timedelta(hours=24)
"""Between injection and scan; more than a day means that one of the dates is wrong."""

_LEAST_DOSE_BQ = 1e5  # a dose in MBq, as some write it, is below; and 0.1 MBq gives no image
_WEIGHTS_KG = (0.2, 500.0)


def body_weight_factor(headers: Sequence[Dataset]) -> float:
    """Return what the rescaled values of all images of one PET series are multiplied by.

    From Bq/ml it is body weight in g / dose in Bq, the dose decayed to the time to which the
    images are corrected: the start of the scan (Decay Correction START) or the injection
    (ADMIN). Philips counts have their factor in (7053,1000), or in (7053,1009) one that gives
    Bq/ml. Grams per millilitre are uptake values already.

    Raises InputRefused for images that are no single-frame PET, for other units, for images
    without correction for attenuation and decay, and for values that miss or cannot be true.
    """
    series = _PetSeries(headers=headers)
    series.require_pet()
    series.require_corrected()
    units = series.word("Units", InputReason.SUV_UNITS)
    if units == "GML":
        series.require_body_weight()
        return 1.0
    if units == "CNTS":
        return _of_counts(series)
    if units == "BQML":
        return _of_activity(series)
    raise series.refused(InputReason.SUV_UNITS, f"its units are {units}, not BQML, CNTS or GML")


def _of_counts(series: "_PetSeries") -> float:
    factor = series.philips(0x00)
    if factor is not None:
        return factor
    to_becquerel = series.philips(0x09)
    if to_becquerel is not None:
        return to_becquerel * _of_activity(series)
    raise series.refused(
        InputReason.SUV_INCOMPLETE,
        "its units are counts, and neither (7053,1000) nor (7053,1009) gives their factor",
    )


def _of_activity(series: "_PetSeries") -> float:
    weight_kg = series.positive("PatientWeight")
    dose_bq = series.positive("RadionuclideTotalDose", series.injections)
    if not _WEIGHTS_KG[0] <= weight_kg <= _WEIGHTS_KG[1]:
        raise series.implausible(f"PatientWeight of {weight_kg:g} is no weight in kg")
    if dose_bq < _LEAST_DOSE_BQ:
        raise series.implausible(f"RadionuclideTotalDose of {dose_bq:g} is no dose in Bq")
    if series.word("DecayCorrection", InputReason.SUV_NOT_CORRECTED) == "ADMIN":
        return weight_kg * 1000 / dose_bq
    half_life_s = series.positive("RadionuclideHalfLife", series.injections)
    start = _scan_start(series, half_life_s)
    uptake = start - _injected(series, start)
    if not timedelta(0) <= uptake <= LONGEST_UPTAKE:
        seconds = uptake.total_seconds()
        raise series.implausible(f"scan starts {seconds:.0f} s after the injection")
    decayed_bq = dose_bq * math.exp2(-uptake.total_seconds() / half_life_s)
    return weight_kg * 1000 / decayed_bq


def _scan_start(series: "_PetSeries", half_life_s: float) -> datetime:
    """Return the time to which a series with Decay Correction START is corrected.

    It is the start of the series, unless that was overwritten by processing and lies behind an
    acquisition: then GE's own element, or Frame Reference Time, says how far back it was.
    """
    acquired = [series.moment(one, "Acquisition") for one in series.headers]
    first = acquired.index(min(acquired))
    starts = {series.moment(one, "Series") for one in series.headers}
    if len(starts) == 1 and (start := starts.pop()) <= acquired[first]:
        return start
    scanned = _private(series.headers[first], 0x0009, GE_PET, 0x0D)
    if scanned:
        return series.parsed("(0009,100D)", scanned)
    return acquired[first] - _since_scan_start(
        _PetSeries(headers=[series.headers[first]]), half_life_s
    )


def _since_scan_start(image: "_PetSeries", half_life_s: float) -> timedelta:
    """Return how long after the start of the scan an image's acquisition began.

    Frame Reference Time is when, since that start, the activity was at its mean over the frame;
    since the activity falls, that is before the frame's middle (PS3.3 C.8.9.4.1.6).
    """
    reference_ms = image.positive("FrameReferenceTime")
    rate = math.log(2) / half_life_s
    decay = rate * image.positive("ActualFrameDuration") / 1000
    mean_after_s = math.log(decay / -math.expm1(-decay)) / rate
    return timedelta(seconds=reference_ms / 1000 - mean_after_s)


def _injected(series: "_PetSeries", scan_start: datetime) -> datetime:
    """Return when the tracer was injected; a time without a date is the last before the scan."""
    moment = series.one_of("RadiopharmaceuticalStartDateTime", series.injections)
    if moment:
        return series.parsed("RadiopharmaceuticalStartDateTime", moment)
    time = series.one_of("RadiopharmaceuticalStartTime", series.injections)
    if not time:
        raise series.missing("RadiopharmaceuticalStartTime")
    day = scan_start.strftime("%Y%m%d")
    injected = series.parsed("RadiopharmaceuticalStartTime", day + time)
    return injected if injected <= scan_start else injected - timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _PetSeries:
    """The headers of a PET series, asked for values that all of them must share."""

    headers: Sequence[Dataset]

    @property
    def injections(self) -> list[Dataset]:
        """The first item of Radiopharmaceutical Information of each image (PS3.3 C.8.9.2)."""
        keyword = "RadiopharmaceuticalInformationSequence"
        return [next(iter(one.get(keyword) or ()), Dataset()) for one in self.headers]

    def require_pet(self) -> None:
        others = [
            one
            for one in self.headers
            if one.get("SOPClassUID") != PositronEmissionTomographyImageStorage
        ]
        if others:
            raise _PetSeries(headers=others).refused(
                InputReason.SUV_NOT_PET, "uptake values are known of single-frame PET images only"
            )

    def require_corrected(self) -> None:
        for header in self.headers:
            corrections = header.get("CorrectedImage") or ()
            corrections = [corrections] if isinstance(corrections, str) else corrections
            if not {"ATTN", "DECY"} <= {str(one) for one in corrections}:
                raise _PetSeries(headers=[header]).refused(
                    InputReason.SUV_NOT_CORRECTED,
                    "it is not corrected for both attenuation and decay",
                )
        if self.word("DecayCorrection", InputReason.SUV_NOT_CORRECTED) not in {"START", "ADMIN"}:
            raise self.refused(
                InputReason.SUV_NOT_CORRECTED, "its decay is corrected to no known time"
            )

    def require_body_weight(self) -> None:
        kind = self.one_of("SUVType", self.headers) or "BW"  # what absence means, C.8.9.1
        if kind != "BW":
            raise self.refused(
                InputReason.SUV_UNITS, f"its uptake values are by {kind} instead of body weight"
            )

    def word(self, keyword: str, reason: InputReason) -> str:
        value = self.one_of(keyword, self.headers)
        if not value:
            raise self.refused(reason, f"its {keyword} is missing")
        return value

    def one_of(self, keyword: str, items: Sequence[Dataset]) -> str:
        """Return the value that all items share, empty where all lack it."""
        raw = (item.get(keyword) for item in items)
        values = {"" if value is None else str(value).strip() for value in raw}
        if len(values) != 1:
            raise self.refused(
                InputReason.SUV_INCOMPLETE, f"its {keyword} is not the same in all images"
            )
        return values.pop()

    def positive(self, keyword: str, items: Sequence[Dataset] | None = None) -> float:
        text = self.one_of(keyword, self.headers if items is None else items)
        if not text:
            raise self.missing(keyword)
        return self._positive(keyword, text)

    def philips(self, element: int) -> float | None:
        """Return one of Philips' factors, None where it is absent or 0, which means unknown."""
        texts = {_private(one, 0x7053, PHILIPS_PET, element) for one in self.headers}
        if len(texts) != 1:
            raise self.implausible(f"(7053,10{element:02X}) differs between images")
        text = texts.pop()
        name = f"(7053,10{element:02X})"
        return None if not text or text.strip("0.") == "" else self._positive(name, text)

    def moment(self, header: Dataset, which: str) -> datetime:
        """Return the date and time of an image's ``Acquisition`` or ``Series``."""
        date, time = (str(header.get(which + part) or "") for part in ("Date", "Time"))
        if not (date and time):
            raise self.missing(f"{which}Date or {which}Time")
        return self.parsed(f"{which}Date and {which}Time", date + time)

    def parsed(self, name: str, text: str) -> datetime:
        """Read a date time (PS3.5 6.2); its offset from UTC is that of all others, and unused."""
        try:
            return datetime.fromisoformat(DT(text).replace(tzinfo=None).isoformat())
        except (ValueError, AttributeError) as error:
            raise self.implausible(f"{name} is no date and time") from error

    def _positive(self, name: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise self.implausible(f"{name} is no number") from error
        if not (math.isfinite(value) and value > 0):
            raise self.implausible(f"{name} is not positive")
        return value

    def missing(self, keyword: str) -> InputRefused:
        return self.refused(InputReason.SUV_INCOMPLETE, f"its {keyword} is missing")

    def implausible(self, what: str) -> InputRefused:
        return self.refused(InputReason.SUV_IMPLAUSIBLE, f"its {what}")

    def refused(self, reason: InputReason, what: str) -> InputRefused:
        instances = [str(one.get("SOPInstanceUID", "")) for one in self.headers]
        detail = f"no uptake value follows from the PET series: {what}{named(instances)}"
        return InputRefused(detail, reason=reason, instances=instances)


def _private(header: Dataset, group: int, creator: str, element: int) -> str:
    """Return the text of a private element, empty where it or its creator is missing."""
    try:
        value = header.private_block(group, creator)[element].value
    except KeyError:
        return ""
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(
        " \0"
    )

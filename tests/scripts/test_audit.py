"""How findings of Slither are read and matched with their explanations."""

from __future__ import annotations

import pytest

from scripts import audit
from scripts.audit import AuditError, Finding

CONTRACT = {"type": "contract", "name": "Till"}
FUNCTION = {"type": "function", "name": "pay", "type_specific_fields": {"parent": CONTRACT}}
VARIABLE = {"type": "variable", "name": "to", "type_specific_fields": {"parent": FUNCTION}}
STATEMENT = {"type": "node", "name": "x = 1", "type_specific_fields": {"parent": FUNCTION}}


def found(check: str, element: dict) -> dict:
    text = "Till.pay does\n\tsomething (contracts/Till.sol#12)"
    return {
        "check": check,
        "impact": "Low",
        "confidence": "High",
        "description": text,
        "elements": [element, CONTRACT],
    }


def report(*detectors: dict) -> dict:
    return {"success": True, "error": None, "results": {"detectors": list(detectors)}}


@pytest.mark.parametrize(
    ("element", "place"),
    [
        (CONTRACT, "Till"),
        (FUNCTION, "Till.pay"),
        (VARIABLE, "Till.pay.to"),
        (STATEMENT, "Till.pay"),
    ],
)
def test_a_finding_is_placed_by_names_and_not_by_lines(element, place):
    (finding,) = audit.read_report(report(found("timestamp", element)))
    assert finding == Finding(
        detector="timestamp",
        place=place,
        impact="Low",
        confidence="High",
        description="Till.pay does something (contracts/Till.sol#12)",
    )


def test_nothing_found_is_no_failure_but_a_failed_analysis_is():
    assert audit.read_report({"success": True, "error": None, "results": {}}) == []
    with pytest.raises(AuditError, match="no such contract"):
        audit.read_report({"success": False, "error": "no such contract", "results": {}})


def test_an_explanation_covers_its_detector_at_its_places_only():
    text = """
        [[finding]]
        detector = "timestamp"
        places = ["Till.pay", "Till.gone"]
        reason = "days, not seconds"
    """
    reasons = audit.read_explanations(text)
    findings = audit.read_report(
        report(
            found("timestamp", FUNCTION),
            found("timestamp", STATEMENT),
            found("timestamp", VARIABLE),
            found("assembly", FUNCTION),
        )
    )
    assert [finding.key for finding in audit.unexplained(findings, reasons)] == [
        ("assembly", "Till.pay"),
        ("timestamp", "Till.pay.to"),
    ]
    assert audit.outdated(findings, reasons) == [("timestamp", "Till.gone")]


@pytest.mark.parametrize(
    "text",
    [
        '[[finding]]\ndetector = "timestamp"\nplaces = ["Till.pay"]',
        '[[finding]]\ndetector = "timestamp"\nplaces = ["Till.pay"]\nreason = ""',
        '[[finding]]\ndetector = "timestamp"\nplaces = []\nreason = "none"',
        '[[finding]]\ndetector = "t"\nplaces = ["Till.pay", "Till.pay"]\nreason = "twice"',
    ],
)
def test_an_explanation_without_substance_is_refused(text):
    with pytest.raises(AuditError):
        audit.read_explanations(text)


def test_the_explanations_of_the_project_can_be_read():
    reasons = audit.read_explanations(audit.EXPLANATIONS.read_text(encoding="utf-8"))
    assert all(len(reason) > 20 for reason in reasons.values())


def test_without_slither_it_says_how_to_get_it(tmp_path):
    with pytest.raises(AuditError, match="make audit"):
        audit.analyse(tmp_path / "slither")

"""Volume and scores of intracranial arterial calcification from clinical CT head scans."""

__version__ = "0.1.0"

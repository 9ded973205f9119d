from enum import Enum

class JobStatus(Enum):
    UNKNOWN = 0
    COMPLETED = 1
    FAILED = 2

class JobReturn:
    status: JobStatus

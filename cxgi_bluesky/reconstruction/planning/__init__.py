"""Planning: what to measure within a budget, before the scan."""

from .budget import MeasurementPlan as MeasurementPlan
from .budget import PlannedScan as PlannedScan
from .budget import plan_measurement as plan_measurement

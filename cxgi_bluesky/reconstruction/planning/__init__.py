"""Planning: what to measure within a budget, which patterns to choose next, and whether an image is good enough."""

from .budget import MeasurementPlan as MeasurementPlan
from .budget import PlannedScan as PlannedScan
from .budget import plan_measurement as plan_measurement
from .choose import Batch as Batch
from .choose import Knowledge as Knowledge
from .choose import choose_batch as choose_batch
from .quality import PsnrEstimate as PsnrEstimate
from .quality import estimate_psnr as estimate_psnr

"""Planning: which patterns to measure next, and whether an image is good enough; numbers only, no scan."""

from .choose import Batch as Batch
from .choose import Knowledge as Knowledge
from .choose import choose_batch as choose_batch
from .quality import PsnrEstimate as PsnrEstimate
from .quality import estimate_psnr as estimate_psnr

"""The error of a measurement: noise, common mode, resampling, calibration."""

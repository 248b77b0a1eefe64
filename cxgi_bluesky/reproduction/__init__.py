"""The paper's Figures 2-4 on the twin, through the plans, devices and reconstructions that a beamline uses."""

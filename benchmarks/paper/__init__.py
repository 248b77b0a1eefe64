"""The paper's Figures 2-4 on the simulated beamline."""

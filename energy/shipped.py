"""The names of the devices that come with the package, in `energy/devices`."""

SHIPPED = ("45nm-fp32", "45nm-int8", "loihi1")

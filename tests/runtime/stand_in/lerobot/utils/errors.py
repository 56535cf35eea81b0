"""The errors of devices, as lerobot names them."""


class DeviceNotConnectedError(ConnectionError):
    """A device that is not connected was used."""

import localstack.utils.run


def stay_in_process_group() -> None:
    """
    LocalStack starts DynamoDB Local in a session of its own, where the signal that ends our process group would miss it.
    Its `run` does so on Linux and macOS, and asks for the system at no other place.
    """
    localstack.utils.run.is_linux = localstack.utils.run.is_mac_os = lambda: False

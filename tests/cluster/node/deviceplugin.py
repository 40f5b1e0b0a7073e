"""A device plugin: announces devices of one extended resource to a node's kubelet, as its vendor's does.

https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/. It can lose devices, call them
unhealthy, and be stopped and started again.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from tests.cluster.node.proto import deviceplugin_pb2 as pb
from tests.cluster.node.proto import deviceplugin_pb2_grpc as rpc

VERSION = "v1beta1"
KUBELET_SOCKET = "kubelet.sock"
REGISTER_SECONDS = 10.0

# What a vendor's plugin tells its container runtime of the devices that a container gets.
VISIBLE = {"nvidia.com/gpu": "NVIDIA_VISIBLE_DEVICES", "huawei.com/Ascend910": "ASCEND_VISIBLE_DEVICES"}


class DevicePlugin(rpc.DevicePluginServicer):
    """Of one node. `sockets` is the kubelet's folder of device plugins."""

    def __init__(self, sockets: Path, resource: str, count: int) -> None:
        self.kubelet = sockets / KUBELET_SOCKET
        self._sockets = sockets
        self._resource = resource
        self._endpoint = f"{resource.replace('/', '_')}.sock"
        self._changed = threading.Condition()
        self._generation = 0
        self._devices: dict[str, str] = {}
        self.have(count)
        self._server: grpc.Server | None = None
        self._folder: int | None = None

    def start(self) -> None:
        """Serve, and register with the kubelet, which empties the folder when it starts. Raises FileNotFoundError where
        its socket is not there, grpc.RpcError where it does not answer."""
        self.kubelet.stat()
        (self._sockets / self._endpoint).unlink(missing_ok=True)
        # A socket's path has 107 bytes at most; by its folder's descriptor any is short.
        self._folder = os.open(self._sockets, os.O_PATH)
        folder = f"/proc/self/fd/{self._folder}"
        self._server = grpc.server(ThreadPoolExecutor(4))
        rpc.add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{folder}/{self._endpoint}")
        self._server.start()
        request = pb.RegisterRequest(version=VERSION, endpoint=self._endpoint, resource_name=self._resource)
        try:
            with grpc.insecure_channel(f"unix:{folder}/{KUBELET_SOCKET}") as channel:
                rpc.RegistrationStub(channel).Register(request, wait_for_ready=True, timeout=REGISTER_SECONDS)
        except grpc.RpcError:
            self.stop()
            raise

    def stop(self) -> None:
        """End, as a plugin that is updated or crashes: the kubelet calls its devices unhealthy at once."""
        if self._server is None or self._folder is None:
            return
        server, self._server = self._server, None
        with self._changed:
            self._changed.notify_all()
        server.stop(None).wait()
        os.close(self._folder)
        self._folder = None

    def have(self, count: int, unhealthy: int = 0) -> None:
        """From now on there are so many devices, the first `unhealthy` of which are so."""
        name = self._resource.rpartition("/")[2]
        with self._changed:
            self._devices = {
                f"{name}-{number}": "Unhealthy" if number < unhealthy else "Healthy" for number in range(count)
            }
            self._generation += 1
            self._changed.notify_all()

    def GetDevicePluginOptions(self, request: pb.Empty, context: grpc.ServicerContext) -> pb.DevicePluginOptions:
        return pb.DevicePluginOptions()

    def ListAndWatch(self, request: pb.Empty, context: grpc.ServicerContext) -> Iterator[pb.ListAndWatchResponse]:
        seen = None
        while True:
            with self._changed:
                while self._generation == seen and self._server is not None:
                    self._changed.wait()
                if self._server is None:
                    return
                seen, devices = self._generation, dict(self._devices)
            yield pb.ListAndWatchResponse(devices=[pb.Device(ID=name, health=how) for name, how in devices.items()])

    def Allocate(self, request: pb.AllocateRequest, context: grpc.ServicerContext) -> pb.AllocateResponse:
        return pb.AllocateResponse(
            container_responses=[
                pb.ContainerAllocateResponse(envs={VISIBLE[self._resource]: ",".join(asked.devices_ids)})
                for asked in request.container_requests
            ]
        )

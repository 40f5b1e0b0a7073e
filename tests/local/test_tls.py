"""`hearth up --tls`: the controller's own certificates between the three roles and KEDA, on one machine."""

import json
import re
import subprocess
import sys
from pathlib import Path

import grpc
import openai
import pytest

from hearth.proto import externalscaler_pb2 as pb
from hearth.proto.externalscaler_pb2_grpc import ExternalScalerStub
from tests.local.command import Hearth

MODEL = "deepseek-v3-small"


def test_a_model_is_woken_with_certificates_and_a_stranger_hears_nothing(tmp_path: Path) -> None:
    with Hearth.up(tmp_path, "--tls", "--sim", "load-seconds=0.5", "--sim", "start-seconds=0.2") as hearth:
        client = openai.OpenAI(base_url=hearth.url, api_key="none", max_retries=0, timeout=60)
        answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}])
        assert answer.choices[0].message.content
        (config,) = re.findall(r"hearth top --kubeconfig (\S+)", hearth.text)
        told = subprocess.run(
            [sys.executable, "-m", "hearth", "doctor", "--kubeconfig", config, "-o", "json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        checks = {check["what"]: check["well"] for check in json.loads(told.stdout)}
        for whose in ("activator", "scaler", "keda", "authority"):
            assert checks[f"certificate of {whose}"] is True
        (log,) = tmp_path.glob("hearth-*/scaler.log")
        lines = log.read_text()
        assert "certificate read" in lines
        (port,) = re.findall(r'scaler serving.*?port"?[=:] ?(\d+)', lines)
        ref = pb.ScaledObjectRef(name=MODEL, namespace="ai-prod", scalerMetadata={"target": "1"})
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
            ExternalScalerStub(channel).GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref), timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "can't be made" not in log.with_name("controller.log").read_text()

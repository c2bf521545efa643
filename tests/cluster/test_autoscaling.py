"""A Ray cluster whose node with a GPU comes when a launch asks the autoscaler: Ray's own, with faked nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.cluster.nodes import Cluster

LOOK = """
import sys
from pipeline.launch.machine import machine_of
from pipeline.spec.sections import Resources
print(machine_of(Resources(device="cuda", workers=3), sys.argv[1], False, print))
"""
NODES = {
    "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
    "with_gpu": {"resources": {"CPU": 2, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
}


@pytest.mark.slow
@pytest.mark.ray
def test_a_node_with_a_gpu_is_asked_of_the_autoscaler_and_comes(tmp_path):
    config = tmp_path / "autoscaling.json"
    cluster = Cluster(tmp_path, head_options=["--autoscaling-config", config])
    flags = dict.fromkeys(("use_node_id_as_ip", "disable_node_updaters", "disable_launch_config_check"), True)
    lists = ("setup_commands", "initialization_commands", "head_setup_commands", "worker_setup_commands")
    commands = {key: [] for key in (*lists, "head_start_ray_commands", "worker_start_ray_commands")}
    config.write_text(
        json.dumps(
            {
                "cluster_name": "faked",
                "max_workers": 1,
                "upscaling_speed": 1.0,
                "idle_timeout_minutes": 1,
                "provider": {"type": "fake_multinode", "gcs_address": cluster.address, **flags},
                "available_node_types": NODES,
                "head_node_type": "ray.head.default",
                "auth": {},
                "docker": {},
                "file_mounts": {},
                "cluster_synced_files": [],
                "file_mounts_sync_continuously": False,
                "rsync_exclude": [],
                "rsync_filter": [],
                **commands,
            }
        )
    )
    cluster.environment |= {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "SEEDBED_GPU_WAIT_S": "150"}
    with cluster:
        look = subprocess.run(
            [sys.executable, "-c", LOOK, cluster.address],
            env=os.environ | cluster.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    assert look.returncode == 0, look.stderr
    told, found = look.stdout.splitlines()
    assert told.startswith("waiting up to 150 s for a node with a GPU")
    assert found.startswith("Machine(device='cuda', num_workers=3")

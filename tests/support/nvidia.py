"""Answers of nvidia-smi and lines of NCCL and the kernel in the form that these programs give them.

There is no GPU where these tests run: the forms follow the programs' documentation and published logs, and
the values are made up.
"""

from train.node_check.gpus import COLUMNS

A100 = {
    **{"index": "0", "uuid": "GPU-6d1c2a3e-77d5-4a06-9c3e-0d3b3f9a1c55", "pci.bus_id": "00000000:3B:00.0"},
    **{"name": "NVIDIA A100-SXM4-80GB", "mig.mode.current": "Disabled"},
    **{"memory.used": "4", "memory.total": "81920", "utilization.gpu": "0", "temperature.gpu": "31"},
    **{"clocks.sm": "210", "clocks.max.sm": "1410", "power.draw": "62.41", "power.limit": "400.00"},
    **{"ecc.errors.uncorrected.volatile.total": "0", "retired_pages.pending": "[N/A]"},
    "clocks_throttle_reasons.hw_slowdown": "Not Active",
    "clocks_throttle_reasons.sw_thermal_slowdown": "Not Active",
    **{"pcie.link.gen.max": "4", "pcie.link.width.current": "16", "pcie.link.width.max": "16"},
}


def smi_line(**changed: str) -> str:
    """The line of a healthy A100 with some values changed; `_` in a name stands for `.`."""
    changes = {
        name: changed.pop(name.replace(".", "_")) for name in COLUMNS if name.replace(".", "_") in changed
    }
    assert not changed, f"no such columns: {changed}"
    return ", ".join((A100 | changes)[name] for name in COLUMNS)


TOPOLOGY = """\
\t\x1b[4mGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m
GPU0\t X \tNV12\tNV12\tPXB\t0-31\t0\t\tN/A
GPU1\tNV12\t X \tSYS\tSYS\t0-31\t0\t\tN/A
GPU2\tNV12\tSYS\t X \tSYS\t32-63\t1\t\tN/A
NIC0\tPXB\tSYS\tSYS\t X \t\t\t\t

Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NV#  = Connection traversing a bonded set of # NVLinks
"""

NCCL_INFINIBAND = """\
n0:2017:2017 [0] NCCL INFO Bootstrap: Using ib0:10.20.0.11<0>
n0:2017:2017 [0] NCCL INFO cudaDriverVersion 12090
NCCL version 2.27.3+cuda12.9
n0:2017:2101 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB ib0:10.20.0.11<0>
n0:2017:2101 [0] NCCL INFO Using network IB
n0:2017:2101 [0] NCCL INFO Channel 00/04 : 0 1 2 3
n0:2017:2109 [0] NCCL INFO Channel 00/0 : 3[1] -> 0[0] [receive] via NET/IB/0/GDRDMA
n0:2017:2109 [0] NCCL INFO Channel 01/0 : 3[1] -> 0[0] [receive] via NET/IB/1/GDRDMA
n0:2017:2109 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read
n0:2017:2109 [0] NCCL INFO Channel 01/0 : 0[0] -> 1[1] via P2P/CUMEM/read
n0:2017:2109 [0] NCCL INFO Connected all rings
"""
NCCL_SOCKETS = """\
n0:2017:2101 [0] NCCL INFO NCCL_IB_DISABLE set by environment to 1.
n0:2017:2101 [0] NCCL INFO NET/Socket : Using [0]eth0:192.168.11.1<0>
n0:2017:2101 [0] NCCL INFO Using network Socket
n0:2017:2109 [0] NCCL INFO Channel 00/0 : 1[0] -> 0[0] [receive] via NET/Socket/0
n0:2017:2109 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[0] [send] via NET/Socket/0
"""
NCCL_2_4 = "g1:890:561 [0] NCCL INFO Channel 01 : 2[c7000] -> 0[87000] [receive] via NET/IB/5/GDRDMA\n"
NCCL_PLUGIN = "h:987:1260 [7] NCCL INFO Channel 03/0 : 47[7] -> 39[7] [receive] via NET/IBext_v8/2\n"
NCCL_SHARED_MEMORY = """\
n0:77:90 [0] NCCL INFO Using network Socket
n0:77:91 [0] NCCL INFO Channel 00 : 0[0] -> 1[1] via SHM/direct/direct
"""

KERNEL_LOG = """\
[    4.117091] nvidia: loading out-of-tree module taints kernel.
[   91.200312] NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.
[99950.311202] NVRM: Xid (PCI:0000:86:00): 31, pid=4411, name=python, Ch 00000008, intr 00000000. MMU Fault
[99960.000001] NVRM: Xid (PCI:0000:86:00): 95, pid=4411, name=python, Uncontained: FBHUB. RST: Yes, D-RST: No
[99961.000001] NVRM: Xid (PCI:0000:af:00): 48, pid=1, name=other, DBE (double bit error)
"""

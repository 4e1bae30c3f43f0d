"""A Slurm of two nodes on this machine, on loopback, without systemd: started here, and ended by process id."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from support.commands import environment
from support.processes import parents

NODES = ("n1", "n2")
# Two partitions of the same nodes: jobs of `urgent` preempt those of `main`, which are requeued.
_CONFIGURATION = """\
ClusterName=resdepth
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdTimeout=10
SlurmctldTimeout=10
MessageTimeout=10
KillWait=10
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
"""
_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[3]}
AccountingStoragePass={folder}/munge/socket
AccountingStorageUser=root
"""
_DATABASE = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[3]}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[4]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


class Cluster:
    """Two nodes of one core each, with accounting in a database if `accounts`. Its configuration is in `variables`."""

    def __init__(self, *, accounts=False):
        self.folder = Path(tempfile.mkdtemp(prefix="resdepth-slurm-"))  # pytest's own folders are closed to munge
        self.folder.chmod(0o755)
        self.variables = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._accounts = accounts
        self._values = {"folder": self.folder, "host": socket.gethostname().partition(".")[0], "ports": _free_ports(5)}
        self._processes = {}

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _start(self):
        (self.folder / "state").mkdir()
        munge = self.folder / "munge"
        munge.mkdir()
        (munge / "key").write_bytes(secrets.token_bytes(1024))
        (munge / "key").chmod(0o400)
        for path in (munge, munge / "key"):
            shutil.chown(path, "munge", "munge")
        files = (f"--{name}-file={munge}/{name}" for name in ("key", "pid", "log", "seed"))
        self._run("munged", "munged", "--foreground", *files, f"--socket={munge}/socket", user="munge")
        _wait_for((munge / "socket").exists, "munged")
        text = _CONFIGURATION + (_ACCOUNTING if self._accounts else "")
        (self.folder / "slurm.conf").write_text(text.format(**self._values))
        if self._accounts:
            self._start_database()
        self.start_controller()
        for node in NODES:
            (self.folder / f"spool-{node}").mkdir()
            self.start_node(node)
        _wait_for(lambda: self.ask("sinfo", "--noheader", "--format=%T").strip() == "idle", "the nodes")

    def _start_database(self):
        port, data = self._values["ports"][4], self.folder / "mysql"
        options = (f"--datadir={data}", "--user=root", f"--socket={data}/socket")
        done = subprocess.run(
            ["mariadb-install-db", "--no-defaults", *options[:2], "--auth-root-authentication-method=normal"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        listening = ("--bind-address=127.0.0.1", f"--port={port}", "--innodb-lock-wait-timeout=900")
        self._run("mariadbd", "mariadbd", "--no-defaults", *options, *listening)
        _wait_for((data / "socket").exists, "mariadbd", 60)
        grant = "CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm'; GRANT ALL ON slurm.* TO slurm@'127.0.0.1'"
        subprocess.run(["mariadb", f"--socket={data}/socket", "--user=root", f"--execute={grant}"], check=True)
        database = self.folder / "slurmdbd.conf"
        database.write_text(_DATABASE.format(**self._values))
        database.chmod(0o600)
        self._run("slurmdbd", "slurmdbd", "-D")
        # sacctmgr answers once the database has its tables.
        _wait_for(lambda: self.succeeds("sacctmgr", "--immediate", "add", "cluster", "resdepth"), "slurmdbd", 60)

    def start_controller(self):
        self._run("slurmctld", "slurmctld", "-D", "-i")
        _wait_for(lambda: self.succeeds("scontrol", "ping") and "UP" in self.ask("scontrol", "ping"), "slurmctld", 60)

    def start_node(self, node):
        self._run(node, "slurmd", "-D", "-N", node)

    def kill(self, name):
        """Kill a daemon; of a node also every job on it, as a failure of its machine would."""
        self._processes.pop(name).kill()
        if name in NODES:
            for pid in self.job_processes(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def job_processes(self, node):
        """The processes of the jobs on a node, those of Slurm that watch over them first."""
        found, marks = set(), {f"SLURM_CONF={self.folder}/slurm.conf".encode(), f"SLURMD_NODENAME={node}".encode()}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if marks <= set((folder / "environ").read_bytes().split(b"\0")):
                    found.add(int(folder.name))
        above = parents()
        watching = {above.get(pid) for pid in found} - found - {None, 1}
        return [*watching, *found]

    def ask(self, *words):
        return subprocess.run(
            words, env=environment(**self.variables), capture_output=True, text=True, timeout=60, check=False
        ).stdout

    def succeeds(self, *words):
        return (
            subprocess.run(words, env=environment(**self.variables), capture_output=True, check=False).returncode == 0
        )

    def jobs(self):
        """State of the jobs in the queue, by id."""
        lines = self.ask("squeue", "--array", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def stop(self):
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in reversed(self._processes.values()):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for node in NODES:
            for pid in self.job_processes(node):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, name, *words, user=None):
        with (self.folder / f"{name}.out").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, user=user, group=user,
                env=environment(**self.variables), start_new_session=True,
            )  # fmt: skip

    def log(self, name):
        return (self.folder / f"{name}.out").read_text(errors="replace")


def _free_ports(count):
    """Ports that nobody listens on, the second and the third in a row."""
    sockets = []
    try:
        while True:
            for held in sockets:
                held.close()
            sockets = [socket.socket() for _ in range(count)]
            for held in sockets:
                held.bind(("127.0.0.1", 0))
            ports = [held.getsockname()[1] for held in sockets]
            sockets[2].close()
            sockets[2] = socket.socket()
            with contextlib.suppress(OSError):
                sockets[2].bind(("127.0.0.1", ports[1] + 1))
                ports[2] = ports[1] + 1
                return ports
    finally:
        for held in sockets:
            held.close()


def _wait_for(condition, name, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{name} did not start"
        time.sleep(0.2)

"""A load on Postern, and what became of it.

load.py rows FIFO RATE STOP    failed logins, each from another address, RATE a second until the file STOP exists
load.py compare LOGS ROWS      prints how often rows 1 to ROWS stand in LOGS/audit and LOGS/auth, as JSON
"""
import collections, datetime, glob, json, os, sys, time


def rows(fifo, rate, stop):
    since = time.monotonic()
    with open(fifo, "w") as lines:
        n = 0
        while not os.path.exists(stop):
            n += 1
            print(json.dumps({"ip": f"10.{80 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"}), file=lines, flush=True)
            time.sleep(max(0, since + n / rate - time.monotonic()))


def compare(logs, count):
    said = {}
    for kind, pattern in (("audit", "audit/audit.*.log"), ("auth", "auth/fail2ban.*.log")):
        seen, times = collections.Counter(), []
        for path in glob.glob(f"{logs}/{pattern}"):
            for line in open(path):
                event = json.loads(line)
                if event["postern"].get("source") == "postern":  # not the header of a file of the pair
                    seen[event["event"]["sequence"]] += 1
                    # Lines of earlier releases have the time of reading as event.ingested.
                    times.append(event["event"].get("created") or event["event"].get("ingested"))
        wanted = range(1, count + 1)
        said[kind] = {
            "rows": len(seen),
            "lost": sum(1 for row in wanted if seen[row] == 0),
            "twice": sum(1 for row in seen if seen[row] > 1),
        }
        if kind == "audit":  # the longest time in which the daemon read nothing
            read = sorted(datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() for time in times if time)
            said["pause"] = round(max((b - a for a, b in zip(read, read[1:])), default=0), 1)
    print(json.dumps(said))


if sys.argv[1] == "rows":
    rows(sys.argv[2], float(sys.argv[3]), sys.argv[4])
else:
    compare(sys.argv[2], int(sys.argv[3]))

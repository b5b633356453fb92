"""A stand-in for Postern: holds its database open as Postern does, records what it is told, and listens.

postern.py DATABASE FIFO PORT: each line of FIFO is {"ip": ..., "count": ..., "user": ..., "action": ..., "details": ...}, one commit a row.
"""
import json, os, signal, socket, sqlite3, sys, threading

database, fifo, port = sys.argv[1], sys.argv[2], int(sys.argv[3])

listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)


def serve():
    while True:
        listener.accept()[0].close()


threading.Thread(target=serve, daemon=True).start()

db = sqlite3.connect(database, isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute(
    """CREATE TABLE IF NOT EXISTS audit_log (
  id INTEGER PRIMARY KEY AUTOINCREMENT, created_at TEXT NOT NULL DEFAULT (datetime('now')),
  user_id INTEGER, user_name TEXT, user_email TEXT, action TEXT NOT NULL, resource_type TEXT,
  resource_id TEXT, details TEXT, ip_address TEXT, server TEXT)"""
)



def stop(*_):
    db.close()  # the last one to close takes -wal and -shm away
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
if not os.path.exists(fifo):
    os.mkfifo(fifo)
while True:
    with open(fifo) as lines:
        for line in lines:
            told = json.loads(line)
            for _ in range(told.get("count", 1)):
                db.execute(
                    "INSERT INTO audit_log (user_name, action, resource_type, ip_address, details) VALUES (?, ?, 'auth', ?, ?)",
                    (told.get("user", "ada"), told.get("action", "login_failure"), told["ip"], told.get("details")),
                )

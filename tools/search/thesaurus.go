package search

// thesaurus maps a word, as stem leaves it, to what methods call it. It costs no tokens: only the index reads it.
var thesaurus = expand(map[string]string{
	"application": "app", "program": "app", "daemon": "app", "service": "app", "server": "app", "worker": "app",
	"bounce": "restart", "reboot": "restart", "recycle": "restart", "relaunch": "restart",
	"kill": "stop", "halt": "stop", "terminate": "stop", "end": "stop", "shut": "stop shutdown", "quit": "stop",
	"launch": "start", "run": "start", "boot": "start", "begin": "start", "spawn": "start", "up": "start",
	"show": "list get", "display": "list get", "enumerate": "list", "ls": "list", "ps": "list", "overview": "list status",
	"detail": "get inspect", "describe": "inspect get", "info": "inspect get", "look": "get",
	"state": "status", "health": "status check", "healthy": "health check", "alive": "ping health", "unhealthy": "health",
	"output": "logs", "stdout": "logs", "stderr": "logs", "print": "logs", "console": "logs", "log": "logs", "line": "logs",
	"tail": "follow", "stream": "follow", "watch": "follow", "live": "follow",
	"grep": "query", "search": "query", "find": "query list", "filter": "query",
	"crash": "explain why", "broken": "explain", "fail": "explain", "failure": "explain", "why": "explain", "reason": "explain", "die": "explain", "dead": "explain",
	"down": "stop explain", "debug": "explain", "diagnose": "explain doctor", "problem": "explain doctor", "error": "logs explain",
	"remove": "delete purge", "erase": "delete purge", "wipe": "purge", "clear": "purge reset", "clean": "purge", "drop": "delete",
	"replica": "scale instances", "instance": "scale instances", "autoscale": "scale",
	"cpu": "system snapshot", "memory": "system snapshot", "rss": "system snapshot", "resource": "system snapshot", "usage": "system snapshot stats", "load": "system",
	"hup": "signal", "sigterm": "signal", "sigkill": "signal", "usr1": "signal",
	"variable": "env", "environment": "env", "configuration": "config apply", "setting": "config", "config": "config", "deploy": "apply", "yaml": "apply",
	"dependency": "graph", "depend": "graph", "tree": "graph", "topology": "graph",
	"record": "audit", "who": "audit", "trail": "audit", "past": "history", "happen": "events history explain", "change": "history events", "recent": "history events",
	"client": "agents", "session": "agents", "connection": "agents", "freeze": "pause", "unpause": "resume", "kick": "disconnect",
	"undo": "apply history", "rollback": "apply history", "revert": "apply history", "back": "apply start",
	"oom": "explain memory", "stuck": "explain", "hang": "explain", "frozen": "explain", "cause": "explain why", "already": "explain", "conflict": "explain",
	"ram": "memory snapshot processes", "slow": "processes cpu", "leak": "processes memory", "free": "purge disk", "space": "disk purge",
	"need": "graph depends", "trace": "logs errors", "exception": "logs errors", "panic": "logs explain",
	"notify": "publish", "permission": "audit decision", "access": "audit decision", "forbidden": "audit decision", "count": "counter",
	"upgrade": "version", "number": "version", "uptime": "status",
})

func expand(in map[string]string) map[string][]string {
	out := make(map[string][]string, len(in))
	for from, to := range in {
		out[stem(from)] = stems(to)
	}
	return out
}

func stems(text string) []string {
	var out []string
	for start, i := 0, 0; i <= len(text); i++ {
		if i == len(text) || text[i] == ' ' {
			out, start = append(out, stem(text[start:i])), i+1
		}
	}
	return out
}

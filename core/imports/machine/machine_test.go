package machine_test

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/imports/importtest"
	"github.com/omnitron-dev/omnitron/core/imports/machine"
)

func TestGolden(t *testing.T) { importtest.Golden(t) }

func TestRefused(t *testing.T) {
	importtest.Refused(t,
		[3]string{"supervisord.conf", "[program:x]\ncommand = a 'b\n", "supervisord.conf:2: "},
		[3]string{"supervisord.conf", "[program:x]\ncommand = a %(what)s\n", "supervisord.conf:2: it is not known here what %(what)s"},
		[3]string{"supervisord.conf", "[program:x]\nautostart = no\n", "supervisord.conf:1: [program:x] has no command"},
		[3]string{"supervisord.conf", "[program:x\n", "supervisord.conf:1: "},
		[3]string{"supervisord.conf", "[program:x]\ncommand=a\nenvironment=A\n", "supervisord.conf:3: "},
		[3]string{"x.service", "[Unit]\nDescription=x\n", "x.service: it has no [Service]"},
		[3]string{"x.service", "[Service]\nhello\n", "x.service:2: "},
		[3]string{"x.timer", "[Timer]\nOnCalendar=daily\n", "x.timer:1: its service, x.service, is not beside it"},
		[3]string{"crontab", "MAILTO=me\n* * * * echo\n", "crontab:2: "},
		[3]string{"crontab", "@sometimes echo\n", "crontab:1: "},
	)
}

// values that keys are given where "1" would be nothing that shows.
var values = map[string]string{
	"command": "cat -", "process_name": "other", "environment": "A=b", "numprocs": "2", "autostart": "false", "startsecs": "7", "autorestart": "true", "exitcodes": "0,2",
	"stopsignal": "HUP", "umask": "027", "user": "www-data", "directory": "/srv",
	"ExecStart": "/bin/true", "Type": "oneshot", "Environment": "A=b", "EnvironmentFile": "-/none", "Restart": "always", "KillSignal": "SIGINT", "UMask": "0077",
	"User": "www-data", "CPUQuota": "150%", "After": "network.target",
}

func line(key, value string) string {
	if v, ok := values[key]; ok {
		value = v
	}
	if key == "" {
		return ""
	}
	return key + "=" + value + "\n"
}

func TestSupervisordKeys(t *testing.T) {
	importtest.Keys(t, machine.Supervisord, func(section, key string) (string, string) {
		if section == "supervisord" {
			return "supervisord.conf", "[supervisord]\n" + line(key, "1") + "[program:x]\ncommand=sleep 9\n"
		}
		command := "command=sleep 9\n"
		if key == "numprocs_start" {
			command = "command=sleep %(process_num)d\nnumprocs=2\n"
		}
		return "supervisord.conf", "[program:x]\n" + command + line(key, "1")
	})
}

func TestSystemdKeys(t *testing.T) {
	importtest.Keys(t, machine.Systemd, func(section, key string) (string, string) {
		text := "[Service]\nExecStart=/bin/sleep 9\n"
		if section != "Service" {
			text += "[" + section + "]\n"
		}
		return "x.service", text + line(key, "7")
	})
}

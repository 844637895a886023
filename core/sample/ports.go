package sample

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
)

// Port is a TCP port on which a process listens.
type Port struct {
	Address netip.AddrPort
	PID     int
}

// Listening gives the TCP ports on which any of the processes listens. Processes of other users show theirs to root only.
func (s *Sampler) Listening(pids []int) []Port {
	var r reader
	r.prepare(s.root)
	owner := map[string]int{} // inode of a socket → process
	for _, pid := range pids {
		dir := r.name(pid, "/fd")
		r.list(dir, func(fd []byte) {
			to, err := os.Readlink(dir + "/" + string(fd))
			if inode, ok := bytes.CutPrefix([]byte(to), []byte("socket:[")); err == nil && ok {
				owner[string(bytes.TrimSuffix(inode, []byte("]")))] = pid
			}
		})
	}
	var ports []Port
	if len(owner) == 0 {
		return ports
	}
	for _, pid := range pids { // each may have a network of its own
		for _, file := range []string{"/net/tcp", "/net/tcp6"} {
			for line := range bytes.Lines(readAll(r.name(pid, file))) {
				at, inode, ok := listening(line)
				if who, ours := owner[inode]; ok && ours {
					ports = append(ports, Port{at, who})
				}
			}
		}
	}
	slices.SortFunc(ports, func(a, b Port) int { return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.PID, b.PID)) })
	return slices.Compact(ports)
}

// listening reads a line of /proc/net/tcp or tcp6: of a socket that listens, its address and inode.
func listening(line []byte) (at netip.AddrPort, inode string, ok bool) {
	const listen = "0A"
	f := bytes.Fields(line)
	if len(f) < 10 || string(f[3]) != listen {
		return at, "", false
	}
	host, port, found := bytes.Cut(f[1], []byte{':'})
	n, err := strconv.ParseUint(string(port), 16, 16)
	raw := make([]byte, hex.DecodedLen(len(host)))
	if _, e := hex.Decode(raw, host); e != nil || err != nil || !found || len(raw)%4 != 0 {
		return at, "", false
	}
	for i := 0; i < len(raw); i += 4 { // words in the byte order of the machine, which is little-endian here
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	addr, good := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr, uint16(n)), string(f[9]), good
}

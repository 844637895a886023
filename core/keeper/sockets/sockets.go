// Package sockets opens the listening sockets that all generations of a program share, and keeps them open between them: what
// connects while no program runs waits in the kernel's queue instead of being refused.
package sockets

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// backlog is how many connections may wait; the kernel's own bound, net.core.somaxconn, cuts it.
const backlog = 4096

// Socket is one that is kept open.
type Socket struct {
	protocol.SocketBody
	FD int
}

func refusal(code, reason, format string, args ...any) *protocol.Error {
	return &protocol.Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Open begins to listen. It never shares an address with somebody else: SO_REUSEPORT would lose what is queued in a socket
// when that one is closed. Faults: conflict (address_in_use), denied (not_permitted), invalid (no_such_address, bad_spec),
// limited (no_resources), internal (socket_failed).
func Open(b protocol.SocketBody) (*Socket, *protocol.Error) {
	s := &Socket{SocketBody: b, FD: -1}
	s.Shut, s.Broken = 0, false
	open := s.openTCP
	if b.Network == "unix" {
		open = s.openUnix
	}
	if err := open(); err != nil {
		if s.FD >= 0 {
			unix.Close(s.FD)
		}
		return nil, explain(b, err)
	}
	return s, nil
}

func explain(b protocol.SocketBody, err error) *protocol.Error {
	var said *protocol.Error
	switch {
	case errors.As(err, &said):
		return said
	case errors.Is(err, unix.EADDRINUSE):
		return refusal("conflict", "address_in_use", "the address %s of the socket is taken", b.Address)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return refusal("denied", "not_permitted", "cannot listen on %s: not permitted", b.Address)
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return refusal("invalid", "no_such_address", "cannot listen on %s: %v", b.Address, err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return refusal("limited", "no_resources", "cannot listen on %s: %v", b.Address, err)
	}
	return refusal("internal", "socket_failed", "cannot listen on %s: %v", b.Address, err)
}

func (s *Socket) openTCP() error {
	at, err := netip.ParseAddrPort(s.Address)
	if err != nil {
		return refusal("invalid", "bad_spec", "%q is no address of a socket", s.Address)
	}
	ip, family := at.Addr(), unix.AF_INET
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(at.Port()), Addr: [4]byte{}}
	if ip.Is4() {
		to = &unix.SockaddrInet4{Port: int(at.Port()), Addr: ip.As4()}
	} else if !ip.IsUnspecified() || hasIPv6() { // all addresses: where there is no IPv6 that means those of IPv4
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: ip.As16()}
	}
	if s.FD, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if family == unix.AF_INET6 {
		only := 1
		if ip.IsUnspecified() {
			only = 0
		}
		if err := unix.SetsockoptInt(s.FD, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return err
		}
	}
	if err := unix.Bind(s.FD, to); err != nil {
		return err
	}
	return unix.Listen(s.FD, backlog)
}

// hasIPv6 reports whether there is IPv6 here.
func hasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

func (s *Socket) openUnix() error {
	var err error
	if s.FD, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := clear(s.Address); err != nil {
		return err
	}
	old := unix.Umask(0o177) // nobody else may connect before it is as it should be
	err = unix.Bind(s.FD, &unix.SockaddrUnix{Name: s.Address})
	unix.Umask(old)
	if errors.Is(err, unix.EINVAL) {
		return refusal("invalid", "path_too_long", "the path %s is too long for a socket", s.Address)
	}
	if err != nil {
		return err
	}
	if err = s.own(); err == nil {
		err = unix.Listen(s.FD, backlog)
	}
	if err != nil {
		_ = unix.Unlink(s.Address) // ours, made above
	}
	return err
}

func (s *Socket) own() error {
	if s.UID >= 0 && s.UID != os.Geteuid() || s.GID >= 0 && s.GID != os.Getegid() {
		if err := os.Chown(s.Address, s.UID, s.GID); err != nil {
			return err
		}
	}
	return os.Chmod(s.Address, os.FileMode(s.Mode))
}

// clear removes a socket that nobody listens on any more: a keeper and its daemon that died at once leave one. Whatever else
// is there stays.
func clear(path string) error {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return refusal("conflict", "address_in_use", "there is a file %s already, and it is no socket", path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); !errors.Is(err, unix.ECONNREFUSED) {
		return unix.EADDRINUSE
	}
	return unix.Unlink(path)
}

// Heal has a socket listen again after a program has shut it down for all. It reports whether that was possible: a socket of
// the file system cannot be revived.
func (s *Socket) Heal() bool {
	s.Shut++
	s.Broken = s.Network == "unix" || unix.Listen(s.FD, backlog) != nil
	return !s.Broken
}

// Close stops listening. Programs that have it go on until they end.
func (s *Socket) Close() {
	if s.FD < 0 {
		return
	}
	unix.Close(s.FD)
	s.FD = -1
	if s.Network == "unix" {
		_ = unix.Unlink(s.Address) // nobody could connect any more
	}
}

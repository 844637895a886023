package protocol

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"golang.org/x/sys/unix"
)

// Encode gives the bytes of a frame whose body is v. A body that cannot be encoded is a mistake of ours and is said so.
func Encode(f Frame, body any) ([]byte, error) {
	f.V = Version
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("cannot encode %s: %v", f.Type, err)
		}
		f.Body = b
	}
	p, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("cannot encode %s: %v", f.Type, err)
	}
	if len(p) > MaxFrame {
		return nil, fmt.Errorf("cannot send %s: %d bytes are more than %d", f.Type, len(p), MaxFrame)
	}
	out := make([]byte, 4, 4+len(p))
	binary.LittleEndian.PutUint32(out, uint32(len(p)))
	return append(out, p...), nil
}

// Decoder puts frames together from what arrives. Descriptors come no later than the first byte of their frame and in
// the order of the frames, so that a queue and the count in each frame suffice.
type Decoder struct {
	buf []byte
	fds []int
}

// Feed takes what one read gave.
func (d *Decoder) Feed(p []byte, fds []int) {
	d.buf = append(d.buf, p...)
	d.fds = append(d.fds, fds...)
}

// Next gives the next whole frame and its descriptors, which are then the caller's. ok is false while it is not
// complete; an error means that the connection is of no more use.
func (d *Decoder) Next() (f Frame, fds []int, ok bool, err error) {
	if len(d.buf) < 4 {
		return f, nil, false, nil
	}
	n := int(binary.LittleEndian.Uint32(d.buf))
	if n > MaxFrame {
		return f, nil, false, fmt.Errorf("frame of %d bytes is more than %d", n, MaxFrame)
	}
	if len(d.buf) < 4+n {
		return f, nil, false, nil
	}
	if err := json.Unmarshal(d.buf[4:4+n], &f); err != nil {
		return f, nil, false, fmt.Errorf("cannot read frame: %v", err)
	}
	if f.FDs < 0 || f.FDs > len(d.fds) {
		return f, nil, false, fmt.Errorf("frame %s promises %d descriptors, %d came", f.Type, f.FDs, len(d.fds))
	}
	fds = d.fds[:f.FDs:f.FDs]
	d.fds = d.fds[f.FDs:]
	if d.buf = d.buf[4+n:]; len(d.buf) == 0 {
		d.buf = nil // a large frame's buffer is not kept
	}
	return f, fds, true, nil
}

// Close gives back the descriptors that no frame claimed.
func (d *Decoder) Close() {
	CloseAll(d.fds)
	d.fds, d.buf = nil, nil
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Rights reads the descriptors out of control messages.
func Rights(oob []byte) []int {
	var fds []int
	ms, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range ms {
		if got, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// Read waits on a blocking socket until a whole frame is there. It returns unix.ECONNRESET at the end of the stream.
func (d *Decoder) Read(fd int) (Frame, []int, error) {
	buf, oob := make([]byte, 32<<10), make([]byte, 4096)
	for {
		if f, fds, ok, err := d.Next(); ok || err != nil {
			return f, fds, err
		}
		n, m, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = unix.ECONNRESET
		}
		if err != nil {
			return Frame{}, nil, err
		}
		d.Feed(buf[:n], Rights(oob[:m]))
	}
}

// Write sends a whole frame on a blocking socket, its descriptors with the first byte.
func Write(fd int, f Frame, body any, fds []int) error {
	f.FDs = len(fds)
	p, err := Encode(f, body)
	if err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for len(p) > 0 {
		n, err := unix.SendmsgN(fd, p, oob, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p, oob = p[n:], nil
	}
	return nil
}

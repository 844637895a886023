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
	at  int // what is before it has been given away
	fds []int
}

// keptBuffer is how large a buffer is that waits for the next frame: usual ones fit, a large one's is given back.
const keptBuffer = 4 << 10

// The buffers that one read needs. A kernel passes 253 descriptors at once.
const (
	InSize  = 32 << 10
	OOBSize = 2 << 10
)

// Feed takes what one read gave; p stays the caller's.
func (d *Decoder) Feed(p []byte, fds []int) {
	if d.at > 0 {
		d.buf = d.buf[:copy(d.buf, d.buf[d.at:])]
		d.at = 0
	}
	d.buf = append(d.buf, p...)
	d.fds = append(d.fds, fds...)
}

// Next gives the next whole frame and its descriptors, which are then the caller's. ok is false while it is not
// complete; an error means that the connection is of no more use.
func (d *Decoder) Next() (f Frame, fds []int, ok bool, err error) {
	buf := d.buf[d.at:]
	if len(buf) < 4 {
		return f, nil, false, nil
	}
	n := int(binary.LittleEndian.Uint32(buf))
	if n > MaxFrame {
		return f, nil, false, fmt.Errorf("frame of %d bytes is more than %d", n, MaxFrame)
	}
	if len(buf) < 4+n {
		return f, nil, false, nil
	}
	if err := json.Unmarshal(buf[4:4+n], &f); err != nil { // it copies the body
		return f, nil, false, fmt.Errorf("cannot read frame: %v", err)
	}
	if f.FDs < 0 || f.FDs > len(d.fds) {
		return f, nil, false, fmt.Errorf("frame %s promises %d descriptors, %d came", f.Type, f.FDs, len(d.fds))
	}
	fds = d.fds[:f.FDs:f.FDs]
	d.fds = d.fds[f.FDs:]
	if d.at += 4 + n; d.at == len(d.buf) && cap(d.buf) > keptBuffer {
		d.buf, d.at = nil, 0
	}
	return f, fds, true, nil
}

// Close gives back the descriptors that no frame claimed.
func (d *Decoder) Close() {
	CloseAll(d.fds)
	*d = Decoder{}
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
	var in, oob []byte
	for {
		if f, fds, ok, err := d.Next(); ok || err != nil {
			return f, fds, err
		}
		if in == nil { // kept by nobody: few read in this way, and seldom
			in, oob = make([]byte, keptBuffer), make([]byte, OOBSize)
		}
		n, m, _, _, err := unix.Recvmsg(fd, in, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = unix.ECONNRESET
		}
		if err != nil {
			return Frame{}, nil, err
		}
		d.Feed(in[:n], Rights(oob[:m]))
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

package internet

import (
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// An endpoint is the link layer of a stack. It claims no checksum offload, so
// every checksum on the wire is computed and verified.
type endpoint struct {
	// write takes a packet and its view; it reports whether it was accepted.
	write func(packet) bool
	caps  stack.LinkEndpointCapabilities

	linkMu     sync.RWMutex
	dispatcher stack.NetworkDispatcher
	mtu        uint32
	addr       tcpip.LinkAddress
	onClose    func()
}

var _ stack.LinkEndpoint = (*endpoint)(nil)

// inject hands a packet to the stack as received.
func (e *endpoint) inject(p packet) {
	e.linkMu.RLock()
	d := e.dispatcher
	e.linkMu.RUnlock()
	if d == nil {
		p.view.Release()
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(p.view)})
	d.DeliverNetworkPacket(p.proto, pkt)
	pkt.DecRef()
}

// WritePackets implements stack.LinkEndpoint. A refused packet is an error, so
// that the sender knows; it is never lost silently.
func (e *endpoint) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for i, pkt := range pkts.AsSlice() {
		if !e.write(packet{proto: pkt.NetworkProtocolNumber, view: pkt.ToView()}) {
			return i, &tcpip.ErrNoBufferSpace{}
		}
	}
	return pkts.Len(), nil
}

// MTU implements stack.LinkEndpoint.
func (e *endpoint) MTU() uint32 {
	e.linkMu.RLock()
	defer e.linkMu.RUnlock()
	return e.mtu
}

// SetMTU implements stack.LinkEndpoint.
func (e *endpoint) SetMTU(mtu uint32) {
	e.linkMu.Lock()
	defer e.linkMu.Unlock()
	e.mtu = mtu
}

// MaxHeaderLength implements stack.LinkEndpoint. The stack writes no link
// header: the tap makes one.
func (*endpoint) MaxHeaderLength() uint16 { return 0 }

// LinkAddress implements stack.LinkEndpoint.
func (e *endpoint) LinkAddress() tcpip.LinkAddress {
	e.linkMu.RLock()
	defer e.linkMu.RUnlock()
	return e.addr
}

// SetLinkAddress implements stack.LinkEndpoint.
func (e *endpoint) SetLinkAddress(addr tcpip.LinkAddress) {
	e.linkMu.Lock()
	defer e.linkMu.Unlock()
	e.addr = addr
}

// Capabilities implements stack.LinkEndpoint.
func (e *endpoint) Capabilities() stack.LinkEndpointCapabilities { return e.caps }

// Attach implements stack.LinkEndpoint.
func (e *endpoint) Attach(d stack.NetworkDispatcher) {
	e.linkMu.Lock()
	defer e.linkMu.Unlock()
	e.dispatcher = d
}

// IsAttached implements stack.LinkEndpoint.
func (e *endpoint) IsAttached() bool {
	e.linkMu.RLock()
	defer e.linkMu.RUnlock()
	return e.dispatcher != nil
}

// Wait implements stack.LinkEndpoint. The queues are closed by their owner.
func (*endpoint) Wait() {}

// ARPHardwareType implements stack.LinkEndpoint. The phone's stack resolves no
// link addresses: its only neighbour is the router.
func (*endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader implements stack.LinkEndpoint.
func (*endpoint) AddHeader(*stack.PacketBuffer) {}

// ParseHeader implements stack.LinkEndpoint.
func (*endpoint) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close implements stack.LinkEndpoint.
func (e *endpoint) Close() {
	e.linkMu.Lock()
	f := e.onClose
	e.onClose = nil
	e.linkMu.Unlock()
	if f != nil {
		f()
	}
}

// SetOnCloseAction implements stack.LinkEndpoint.
func (e *endpoint) SetOnCloseAction(f func()) {
	e.linkMu.Lock()
	defer e.linkMu.Unlock()
	e.onClose = f
}

package adb

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// Reconnect makes the server drop its connection to one phone and make it anew;
// a phone on USB is reset, as if it had been plugged in again. It returns when
// the server has taken the request: the phone's state says what came of it.
//
// The request names the phone. "host:reconnect-offline" would drop every phone
// of the server that is not online, other people's among them. Servers before
// adb 1.0.36 do not know it and answer a *FailError.
func (c *Client) Reconnect(ctx context.Context, serial string) error {
	if err := checkSerial(serial); err != nil {
		return err
	}
	b, err := c.ask(ctx, "host-serial:"+serial+":reconnect")
	if err != nil {
		return fmt.Errorf("adb: reconnect phone %s: %w", serial, err)
	}
	text := string(b)
	if strings.HasPrefix(text, "reconnecting "+serial+" ") {
		return nil
	}
	// The server reports its errors behind an OKAY here.
	if typed := failState(serial, text); typed != nil {
		return typed
	}
	return &FailError{Service: "host-serial:" + serial + ":reconnect", Message: text}
}

// rebootAnswer bounds the wait for a phone to cut the connection over which it
// was told to restart.
const rebootAnswer = 15 * time.Second

// Reboot tells the phone's daemon to restart the phone. It returns when the
// daemon has taken the request or cut the connection; whether the phone went
// down must be looked at.
func (c *Client) Reboot(ctx context.Context, serial string) error {
	cn, err := c.service(ctx, serial, "reboot:")
	if err != nil {
		return fmt.Errorf("adb: reboot: %w", err)
	}
	defer func() { _ = cn.Close() }()
	if err := cn.SetDeadline(time.Now().Add(rebootAnswer)); err != nil {
		return fmt.Errorf("adb: reboot phone %s: %w", serial, err)
	}
	const most = 400
	// A phone that goes down cuts the connection in any way it likes: the error
	// says nothing, a text says why it stays up.
	said, _ := io.ReadAll(io.LimitReader(cn, most))
	if err := ended(ctx); err != nil {
		return fmt.Errorf("adb: reboot phone %s: %w", serial, err)
	}
	if len(said) > 0 {
		return fmt.Errorf("adb: reboot phone %s: %w", serial, &FailError{Service: "reboot:", Message: string(said)})
	}
	return nil
}

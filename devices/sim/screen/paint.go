package screen

import (
	"bytes"
	"image"
	"image/png"
)

// PNG draws the screen.
func (d *Display) PNG() []byte {
	d.mu.Lock()
	img := d.draw()
	d.mu.Unlock()
	var b bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := enc.Encode(&b, img); err != nil {
		return nil // a buffer takes everything
	}
	return b.Bytes()
}

func (d *Display) draw() *image.RGBA {
	return image.NewRGBA(image.Rect(0, 0, Width, Height))
}

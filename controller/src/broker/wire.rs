//! The two buffers of a connection.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::packet::{DecodeError, Packet, decode, encode};

/// Bytes that are asked for at a time.
const READ_STEP: usize = 4096;
/// Buffers above this size are given back when they are empty.
const KEPT: usize = 16 * 1024;

/// A connection as packets.
#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) input: Input<S>,
    pub(super) output: Output<S>,
}

/// What comes in.
#[derive(Debug)]
pub(super) struct Input<S> {
    stream: ReadHalf<S>,
    buffer: BytesMut,
}

/// What goes out.
#[derive(Debug)]
pub(super) struct Output<S> {
    stream: WriteHalf<S>,
    buffer: BytesMut,
    /// What was written may still lie in the stream: TLS keeps whole records back.
    unflushed: bool,
}

/// A packet cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The other side closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// The network says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are no packet.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl<S: AsyncRead + AsyncWrite> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            input: Input {
                stream: reader,
                buffer: BytesMut::new(),
            },
            output: Output {
                stream: writer,
                buffer: BytesMut::new(),
                unflushed: false,
            },
        }
    }

    /// Waits for one packet.
    pub(super) async fn receive(&mut self, limit: usize) -> Result<Packet, WireError> {
        loop {
            if let Some(packet) = self.input.packet(limit)? {
                return Ok(packet);
            }
            if self.input.fill().await? == 0 {
                return Err(WireError::Closed);
            }
        }
    }

    /// Writes a packet and what waits before it.
    pub(super) async fn send(&mut self, packet: &Packet) -> io::Result<()> {
        self.output.push(packet);
        self.output.flush().await
    }
}

impl<S: AsyncRead + AsyncWrite> Input<S> {
    /// The next packet that is here as a whole.
    pub(super) fn packet(&mut self, limit: usize) -> Result<Option<Packet>, DecodeError> {
        let packet = decode(&mut self.buffer, limit)?;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
            self.buffer = BytesMut::new();
        }
        Ok(packet)
    }

    /// Reads what is there; 0 at the end. May be dropped while it waits.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_STEP);
        self.stream.read_buf(&mut self.buffer).await
    }
}

impl<S: AsyncRead + AsyncWrite> Output<S> {
    /// Puts a packet behind what waits.
    pub(super) fn push(&mut self, packet: &Packet) {
        encode(packet, &mut self.buffer);
    }

    /// Bytes that wait; what lies in the stream counts as one.
    pub(super) fn len(&self) -> usize {
        self.buffer.len() + usize::from(self.unflushed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes a part of what waits. May be dropped while it waits.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            let written = self.stream.write_buf(&mut self.buffer).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unflushed = true;
        }
        if self.buffer.is_empty() {
            if self.buffer.capacity() > KEPT {
                self.buffer = BytesMut::new();
            }
            self.stream.flush().await?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Writes all that waits.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.is_empty() {
            self.drain().await?;
        }
        self.stream.flush().await
    }

    /// Forgets what waits.
    pub(super) fn discard(&mut self) {
        self.buffer.clear();
        self.unflushed = false;
    }

    /// Says that nothing more will come.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await
    }
}

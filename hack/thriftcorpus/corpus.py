# SPDX-License-Identifier: Apache-2.0
"""Writes the messages of messages.go with Apache Thrift's library for Python."""

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.protocol.THeaderProtocol import THeaderProtocol
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.Thrift import TMessageType, TType
from thrift.transport.THeaderTransport import (THeaderSubprotocolID,
                                               THeaderTransformID)
from thrift.transport.TTransport import TFramedTransport, TMemoryBuffer


class Writer:
    def __init__(self, p):
        self.p = p

    def struct(self, *fields):
        self.p.writeStructBegin("s")
        for field in fields:
            field()
        self.p.writeFieldStop()
        self.p.writeStructEnd()

    def field(self, id, kind, value):
        def write():
            self.p.writeFieldBegin("f", kind, id)
            value()
            self.p.writeFieldEnd()
        return write

    def text(self, id, s):
        return self.field(id, TType.STRING, lambda: self.p.writeString(s))

    def i32(self, id, v):
        return self.field(id, TType.I32, lambda: self.p.writeI32(v))

    def nested(self, id, *fields):
        return self.field(id, TType.STRUCT, lambda: self.struct(*fields))

    def list(self, id, kind, items, write):
        def value():
            self.p.writeListBegin(kind, len(items))
            for item in items:
                write(item)
            self.p.writeListEnd()
        return self.field(id, TType.LIST, value)

    def everything(self, reversed_):
        p = self.p
        order = (lambda items: items[::-1]) if reversed_ else (lambda items: items)

        def a_set():
            p.writeSetBegin(TType.STRING, 3)
            for s in order(["a", "b", "c"]):
                p.writeString(s)
            p.writeSetEnd()

        def a_map():
            p.writeMapBegin(TType.STRING, TType.I64, 3)
            for k, v in order([("x", 1), ("y", -2), ("z", 3)]):
                p.writeString(k)
                p.writeI64(v)
            p.writeMapEnd()

        def lists():
            p.writeMapBegin(TType.I32, TType.LIST, 2)
            for k, v in order([(0, "p"), (1, "q")]):
                p.writeI32(k)
                p.writeListBegin(TType.STRUCT, 1)
                self.struct(self.text(1, v))
                p.writeListEnd()
            p.writeMapEnd()

        def nothing():
            p.writeMapBegin(TType.STRING, TType.STRING, 0)
            p.writeMapEnd()

        self.struct(
            self.field(1, TType.BOOL, lambda: p.writeBool(True)),
            self.field(2, TType.BOOL, lambda: p.writeBool(False)),
            self.field(3, TType.BYTE, lambda: p.writeByte(-5)),
            self.field(4, TType.I16, lambda: p.writeI16(-300)),
            self.i32(5, 70000),
            self.field(6, TType.I64, lambda: p.writeI64(-5000000000000)),
            self.field(7, TType.DOUBLE, lambda: p.writeDouble(1.5)),
            self.text(8, 'héllo\n"q"'),
            self.field(9, TType.STRING, lambda: p.writeBinary(b"\x00\x01\xfe\xff")),
            self.list(10, TType.I32, [1, -2, 300], p.writeI32),
            self.field(11, TType.SET, a_set),
            self.field(12, TType.MAP, a_map),
            self.nested(13, self.text(1, "inner"), self.nested(3, self.i32(1, 5))),
            self.list(14, TType.BOOL, [True, False, True], p.writeBool),
            self.field(15, TType.MAP, lists),
            self.list(16, TType.STRING, [], p.writeString),
            self.field(17, TType.MAP, nothing),
            self.text(40, "far"),
            self.i32(200, -1),
            self.list(201, TType.I64, [i * 1000003 for i in range(20)], p.writeI64),
        )


def messages(w):
    yield "call", "Pay", TMessageType.CALL, 7, lambda: w.everything(False)
    yield "call-reversed", "Pay", TMessageType.CALL, 8, lambda: w.everything(True)
    yield "call-multiplexed", "svc:Pay", TMessageType.CALL, -2, lambda: w.everything(False)
    yield "call-empty", "ping", TMessageType.CALL, 0, lambda: w.struct()
    yield "oneway", "Note", TMessageType.ONEWAY, 2147483647, lambda: w.struct(w.text(1, "n"))
    yield "reply", "Pay", TMessageType.REPLY, 7, lambda: w.struct(w.i32(0, 42))
    yield "reply-void", "Pay", TMessageType.REPLY, 300, lambda: w.struct()
    yield "reply-declared", "Pay", TMessageType.REPLY, 7, lambda: w.struct(w.nested(1, w.text(1, "no funds")))
    yield "exception", "Pay", TMessageType.EXCEPTION, 7, lambda: w.struct(w.text(1, "over limit"), w.i32(2, 6))


def header(protocol, *transforms):
    def make(t):
        p = THeaderProtocol(t, (), protocol)
        for transform in transforms:
            p.add_transform(transform)
        p.set_header(b"idempotency-key", b"k-1")
        p.set_header(b"x-client-id", b"gold-co")
        return p
    return make


def forms():
    plain = {
        "binary": lambda t: TBinaryProtocol(t, strictWrite=True),
        "lax": lambda t: TBinaryProtocol(t, strictWrite=False),
        "compact": TCompactProtocol,
        "json": TJSONProtocol,
    }
    for name, make in plain.items():
        yield "unframed", name, make
        yield "framed", name, lambda t, make=make: make(TFramedTransport(t))
    for name, id in (("binary", THeaderSubprotocolID.BINARY), ("compact", THeaderSubprotocolID.COMPACT)):
        yield "header", name, header(id)
        yield "header-zlib", name, header(id, THeaderTransformID.ZLIB)


for transport, protocol, make in forms():
    for i in range(9):
        buf = TMemoryBuffer()
        p = make(buf)
        says, name, kind, seq, body = list(messages(Writer(p)))[i]
        p.writeMessageBegin(name, kind, seq)
        body()
        p.writeMessageEnd()
        p.trans.flush()
        print(says, transport, protocol, buf.getvalue().hex())

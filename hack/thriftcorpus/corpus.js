// SPDX-License-Identifier: Apache-2.0

// Writes the messages of messages.go with Apache Thrift's library for Node.

"use strict";

const thrift = require("thrift");
const Int64 = require("node-int64");
const T = thrift.Thrift.Type;
const M = thrift.Thrift.MessageType;

function writer(p) {
  const w = {};
  w.struct = (...fields) => {
    p.writeStructBegin("s");
    fields.forEach((f) => f());
    p.writeFieldStop();
    p.writeStructEnd();
  };
  w.field = (id, kind, value) => () => {
    p.writeFieldBegin("f", kind, id);
    value();
    p.writeFieldEnd();
  };
  w.text = (id, s) => w.field(id, T.STRING, () => p.writeString(s));
  w.i32 = (id, v) => w.field(id, T.I32, () => p.writeI32(v));
  w.nested = (id, ...fields) => w.field(id, T.STRUCT, () => w.struct(...fields));
  w.list = (id, kind, items, write) =>
    w.field(id, T.LIST, () => {
      p.writeListBegin(kind, items.length);
      items.forEach(write);
      p.writeListEnd();
    });
  w.everything = (reversed) => {
    const order = (items) => (reversed ? items.reverse() : items);
    w.struct(
      w.field(1, T.BOOL, () => p.writeBool(true)),
      w.field(2, T.BOOL, () => p.writeBool(false)),
      w.field(3, T.BYTE, () => p.writeByte(-5)),
      w.field(4, T.I16, () => p.writeI16(-300)),
      w.i32(5, 70000),
      w.field(6, T.I64, () => p.writeI64(new Int64(-5000000000000))),
      w.field(7, T.DOUBLE, () => p.writeDouble(1.5)),
      w.text(8, 'héllo\n"q"'),
      w.field(9, T.STRING, () => p.writeBinary(Buffer.from([0, 1, 0xfe, 0xff]))),
      w.list(10, T.I32, [1, -2, 300], (v) => p.writeI32(v)),
      w.field(11, T.SET, () => {
        p.writeSetBegin(T.STRING, 3);
        order(["a", "b", "c"]).forEach((s) => p.writeString(s));
        p.writeSetEnd();
      }),
      w.field(12, T.MAP, () => {
        p.writeMapBegin(T.STRING, T.I64, 3);
        order([["x", 1], ["y", -2], ["z", 3]]).forEach(([k, v]) => {
          p.writeString(k);
          p.writeI64(new Int64(v));
        });
        p.writeMapEnd();
      }),
      w.nested(13, w.text(1, "inner"), w.nested(3, w.i32(1, 5))),
      w.list(14, T.BOOL, [true, false, true], (v) => p.writeBool(v)),
      w.field(15, T.MAP, () => {
        p.writeMapBegin(T.I32, T.LIST, 2);
        order([[0, "p"], [1, "q"]]).forEach(([k, v]) => {
          p.writeI32(k);
          p.writeListBegin(T.STRUCT, 1);
          w.struct(w.text(1, v));
          p.writeListEnd();
        });
        p.writeMapEnd();
      }),
      w.list(16, T.STRING, [], () => {}),
      w.field(17, T.MAP, () => {
        p.writeMapBegin(T.STRING, T.STRING, 0);
        p.writeMapEnd();
      }),
      w.text(40, "far"),
      w.i32(200, -1),
      w.list(201, T.I64, [...Array(20).keys()], (i) => p.writeI64(new Int64(i * 1000003))),
    );
  };
  return w;
}

const messages = [
  ["call", "Pay", M.CALL, 7, (w) => w.everything(false)],
  ["call-reversed", "Pay", M.CALL, 8, (w) => w.everything(true)],
  ["call-multiplexed", "svc:Pay", M.CALL, -2, (w) => w.everything(false)],
  ["call-empty", "ping", M.CALL, 0, (w) => w.struct()],
  ["oneway", "Note", M.ONEWAY, 2147483647, (w) => w.struct(w.text(1, "n"))],
  ["reply", "Pay", M.REPLY, 7, (w) => w.struct(w.i32(0, 42))],
  ["reply-void", "Pay", M.REPLY, 300, (w) => w.struct()],
  ["reply-declared", "Pay", M.REPLY, 7, (w) => w.struct(w.nested(1, w.text(1, "no funds")))],
  ["exception", "Pay", M.EXCEPTION, 7, (w) => w.struct(w.text(1, "over limit"), w.i32(2, 6))],
];

const protocols = {
  binary: (t) => new thrift.TBinaryProtocol(t, true, true),
  lax: (t) => new thrift.TBinaryProtocol(t, false, false),
  compact: (t) => new thrift.TCompactProtocol(t),
  json: (t) => new thrift.TJSONProtocol(t),
};

function header(id) {
  return (t) => {
    t.setProtocolId(id);
    t.setWriteHeader("idempotency-key", "k-1");
    t.setWriteHeader("x-client-id", "gold-co");
    return new thrift.THeaderProtocol(t);
  };
}

const forms = [];
for (const [name, make] of Object.entries(protocols)) {
  forms.push(["unframed", thrift.TBufferedTransport, name, make]);
  forms.push(["framed", thrift.TFramedTransport, name, make]);
}
forms.push(["header", thrift.TBufferedTransport, "binary", header(0)]);
forms.push(["header", thrift.TBufferedTransport, "compact", header(2)]);

for (const [transport, Transport, protocol, make] of forms) {
  for (const [says, name, kind, seq, body] of messages) {
    const chunks = [];
    const t = new Transport(undefined, (b) => chunks.push(Buffer.from(b)));
    const p = make(t);
    p.writeMessageBegin(name, kind, seq);
    body(writer(p.protocol || p));
    p.writeMessageEnd();
    p.flush();
    console.log(says, transport, protocol, Buffer.concat(chunks).toString("hex"));
  }
}

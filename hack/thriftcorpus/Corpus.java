// SPDX-License-Identifier: Apache-2.0

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.thrift.TException;
import org.apache.thrift.protocol.*;
import org.apache.thrift.transport.TMemoryBuffer;
import org.apache.thrift.transport.TTransport;
import org.apache.thrift.transport.layered.TFramedTransport;

/** Writes the messages of messages.go with Apache Thrift's library for Java. */
public final class Corpus {
  interface Write {
    void run() throws TException;
  }

  interface Body {
    void run(Corpus w) throws TException;
  }

  interface Make {
    TProtocol of(TTransport t) throws TException;
  }

  private final TProtocol p;

  private Corpus(TProtocol p) {
    this.p = p;
  }

  void struct(Write... fields) throws TException {
    p.writeStructBegin(new TStruct("s"));
    for (Write field : fields) field.run();
    p.writeFieldStop();
    p.writeStructEnd();
  }

  Write field(int id, byte kind, Write value) {
    return () -> {
      p.writeFieldBegin(new TField("f", kind, (short) id));
      value.run();
      p.writeFieldEnd();
    };
  }

  Write text(int id, String s) {
    return field(id, TType.STRING, () -> p.writeString(s));
  }

  Write i32(int id, int v) {
    return field(id, TType.I32, () -> p.writeI32(v));
  }

  Write nested(int id, Write... fields) {
    return field(id, TType.STRUCT, () -> struct(fields));
  }

  Write list(int id, byte kind, Write... items) {
    return field(id, TType.LIST, () -> {
      p.writeListBegin(new TList(kind, items.length));
      for (Write item : items) item.run();
      p.writeListEnd();
    });
  }

  static List<Integer> order(boolean reversed, Integer... items) {
    List<Integer> all = Arrays.asList(items);
    if (reversed) Collections.reverse(all);
    return all;
  }

  void everything(boolean reversed) throws TException {
    Write[] longs = new Write[20];
    for (int i = 0; i < longs.length; i++) {
      long v = i * 1000003L;
      longs[i] = () -> p.writeI64(v);
    }
    struct(
        field(1, TType.BOOL, () -> p.writeBool(true)),
        field(2, TType.BOOL, () -> p.writeBool(false)),
        field(3, TType.BYTE, () -> p.writeByte((byte) -5)),
        field(4, TType.I16, () -> p.writeI16((short) -300)),
        i32(5, 70000),
        field(6, TType.I64, () -> p.writeI64(-5000000000000L)),
        field(7, TType.DOUBLE, () -> p.writeDouble(1.5)),
        text(8, "h\u00e9llo\n\"q\""),
        field(9, TType.STRING, () -> p.writeBinary(ByteBuffer.wrap(new byte[] {0, 1, -2, -1}))),
        list(10, TType.I32, () -> p.writeI32(1), () -> p.writeI32(-2), () -> p.writeI32(300)),
        field(11, TType.SET, () -> {
          p.writeSetBegin(new TSet(TType.STRING, 3));
          for (int i : order(reversed, 0, 1, 2)) p.writeString("abc".substring(i, i + 1));
          p.writeSetEnd();
        }),
        field(12, TType.MAP, () -> {
          p.writeMapBegin(new TMap(TType.STRING, TType.I64, 3));
          for (int i : order(reversed, 0, 1, 2)) {
            p.writeString("xyz".substring(i, i + 1));
            p.writeI64(new long[] {1, -2, 3}[i]);
          }
          p.writeMapEnd();
        }),
        nested(13, text(1, "inner"), nested(3, i32(1, 5))),
        list(14, TType.BOOL, () -> p.writeBool(true), () -> p.writeBool(false), () -> p.writeBool(true)),
        field(15, TType.MAP, () -> {
          p.writeMapBegin(new TMap(TType.I32, TType.LIST, 2));
          for (int i : order(reversed, 0, 1)) {
            p.writeI32(i);
            p.writeListBegin(new TList(TType.STRUCT, 1));
            struct(text(1, "pq".substring(i, i + 1)));
            p.writeListEnd();
          }
          p.writeMapEnd();
        }),
        list(16, TType.STRING),
        field(17, TType.MAP, () -> {
          p.writeMapBegin(new TMap(TType.STRING, TType.STRING, 0));
          p.writeMapEnd();
        }),
        text(40, "far"),
        i32(200, -1),
        list(201, TType.I64, longs));
  }

  static void print(String transport, String protocol, Make make, String says, String name, byte kind, int seq, Body body)
      throws TException {
    TMemoryBuffer buf = new TMemoryBuffer(4096);
    TProtocol p = make.of(buf);
    p.writeMessageBegin(new TMessage(name, kind, seq));
    body.run(new Corpus(p));
    p.writeMessageEnd();
    p.getTransport().flush();
    StringBuilder hex = new StringBuilder();
    for (int i = 0; i < buf.length(); i++) hex.append(String.format("%02x", buf.getArray()[i]));
    System.out.println(says + " " + transport + " " + protocol + " " + hex);
  }

  static void all(String transport, String protocol, Make make) throws TException {
    print(transport, protocol, make, "call", "Pay", TMessageType.CALL, 7, w -> w.everything(false));
    print(transport, protocol, make, "call-reversed", "Pay", TMessageType.CALL, 8, w -> w.everything(true));
    print(transport, protocol, make, "call-multiplexed", "svc:Pay", TMessageType.CALL, -2, w -> w.everything(false));
    print(transport, protocol, make, "call-empty", "ping", TMessageType.CALL, 0, w -> w.struct());
    print(transport, protocol, make, "oneway", "Note", TMessageType.ONEWAY, 2147483647, w -> w.struct(w.text(1, "n")));
    print(transport, protocol, make, "reply", "Pay", TMessageType.REPLY, 7, w -> w.struct(w.i32(0, 42)));
    print(transport, protocol, make, "reply-void", "Pay", TMessageType.REPLY, 300, w -> w.struct());
    print(transport, protocol, make, "reply-declared", "Pay", TMessageType.REPLY, 7,
        w -> w.struct(w.nested(1, w.text(1, "no funds"))));
    print(transport, protocol, make, "exception", "Pay", TMessageType.EXCEPTION, 7,
        w -> w.struct(w.text(1, "over limit"), w.i32(2, 6)));
  }

  public static void main(String[] args) throws TException {
    Map<String, Make> protocols = new LinkedHashMap<>();
    protocols.put("binary", t -> new TBinaryProtocol(t, true, true));
    protocols.put("lax", t -> new TBinaryProtocol(t, false, false));
    protocols.put("compact", TCompactProtocol::new);
    protocols.put("json", TJSONProtocol::new);
    for (Map.Entry<String, Make> e : protocols.entrySet()) {
      all("unframed", e.getKey(), e.getValue());
      all("framed", e.getKey(), t -> e.getValue().of(new TFramedTransport(t)));
    }
  }
}

/**
 * Puts rows into frames, so that many cross to Python in one call; see stream/frames.py for what a frame looks like.
 *
 * A frame leaves when it is full, when its first row has waited long enough, and before each barrier: nothing of it is ever in a
 * checkpoint. Rows that take back an earlier one are dropped. With keys, the first column is one, each key has its own frames, and
 * what leaves is a row of key and frame.
 */
public class Gather extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
    implements org.apache.flink.streaming.api.operators.OneInputStreamOperator,
        org.apache.flink.streaming.runtime.tasks.ProcessingTimeService.ProcessingTimeCallback {

  private static final int FIRST_BYTES = 4096;

  private final String columns;
  private final int mostRows;
  private final int mostBytes;
  private final long mostMs;
  private final boolean keyed;
  private final byte[][] fields;
  private final java.util.Map frames = new java.util.LinkedHashMap();
  private boolean timed;

  public Gather(
      Object[] references,
      org.apache.flink.streaming.runtime.tasks.StreamTask task,
      org.apache.flink.streaming.api.graph.StreamConfig config,
      org.apache.flink.streaming.api.operators.Output output,
      org.apache.flink.streaming.runtime.tasks.ProcessingTimeService clock) {
    setup(task, config, output);
    setProcessingTimeService(clock);
    columns = (String) references[0];
    mostRows = ((Integer) references[1]).intValue();
    mostBytes = ((Integer) references[2]).intValue();
    mostMs = ((Integer) references[3]).intValue();
    keyed = ((Boolean) references[4]).booleanValue();
    fields = new byte[columns.length()][];
  }

  public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element) throws Exception {
    org.apache.flink.types.Row row = (org.apache.flink.types.Row) element.getValue();
    org.apache.flink.types.RowKind kind = row.getKind();
    if (kind == org.apache.flink.types.RowKind.UPDATE_BEFORE || kind == org.apache.flink.types.RowKind.DELETE) {
      return;
    }
    Object key = keyed ? row.getField(0) : null;
    Frame frame = (Frame) frames.get(key);
    if (frame == null) {
      frame = new Frame();
      frames.put(key, frame);
    }
    int size = encode(row);
    if (frame.rows > 0 && frame.bytes.position() + size > mostBytes) {
      emit(key, frame);
    }
    frame.makeRoom(size);
    put(row, frame.bytes);
    frame.rows = frame.rows + 1;
    if (frame.rows >= mostRows) {
      emit(key, frame);
    } else if (!timed) {
      timed = true;
      getProcessingTimeService().registerTimer(getProcessingTimeService().getCurrentProcessingTime() + mostMs, this);
    }
  }

  /** Encodes the fields of variable length into `fields`, and returns how many bytes the row takes. */
  private int encode(org.apache.flink.types.Row row) {
    int size = 0;
    for (int i = 0; i < fields.length; i++) {
      Object value = row.getField(i);
      if (columns.charAt(i) == 'q') {
        size += 8;
      } else if (columns.charAt(i) == 'i') {
        size += 4;
      } else {
        fields[i] = value instanceof String ? ((String) value).getBytes(java.nio.charset.StandardCharsets.UTF_8) : (byte[]) value;
        size += 4 + (value == null ? 0 : fields[i].length);
      }
    }
    return size;
  }

  private void put(org.apache.flink.types.Row row, java.nio.ByteBuffer bytes) {
    for (int i = 0; i < fields.length; i++) {
      Number number = columns.charAt(i) == 's' ? null : (Number) row.getField(i);
      if (columns.charAt(i) == 'q') {
        bytes.putLong(number == null ? 0 : number.longValue());
      } else if (columns.charAt(i) == 'i') {
        bytes.putInt(number == null ? 0 : number.intValue());
      } else {
        bytes.putInt(fields[i] == null ? -1 : fields[i].length);
      }
    }
    for (int i = 0; i < fields.length; i++) {
      if (fields[i] != null) {
        bytes.put(fields[i]);
        fields[i] = null;
      }
    }
  }

  private void emit(Object key, Frame frame) {
    if (frame.rows == 0) {
      return;
    }
    byte[] full = java.util.Arrays.copyOf(frame.bytes.array(), frame.bytes.position());
    frame.rows = 0;
    if (frame.bytes.capacity() > 2 * mostBytes) {
      frame.bytes = java.nio.ByteBuffer.allocate(FIRST_BYTES);
    }
    frame.bytes.clear();
    output.collect(
        new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(
            keyed ? (Object) org.apache.flink.types.Row.of(new Object[] {key, full}) : full));
  }

  private void flush() {
    for (java.util.Iterator entries = frames.entrySet().iterator(); entries.hasNext(); ) {
      java.util.Map.Entry entry = (java.util.Map.Entry) entries.next();
      emit(entry.getKey(), (Frame) entry.getValue());
    }
  }

  public void onProcessingTime(long time) throws java.io.IOException, InterruptedException, Exception {
    timed = false;
    flush();
  }

  public void prepareSnapshotPreBarrier(long checkpointId) throws Exception {
    flush();
  }

  public void finish() throws Exception {
    flush();
    super.finish();
  }

  private static final class Frame {
    java.nio.ByteBuffer bytes = java.nio.ByteBuffer.allocate(FIRST_BYTES);
    int rows;

    void makeRoom(int size) {
      if (bytes.remaining() < size) {
        bytes.flip();
        bytes = java.nio.ByteBuffer.allocate(Math.max(2 * bytes.capacity(), bytes.limit() + size)).put(bytes);
      }
    }
  }
}

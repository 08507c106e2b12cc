/** Takes apart the frames that Python gives back: byte[] in, rows of topic, key, value, task, label, traceparent out. See stream/frames.py. */
public class Scatter extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
    implements org.apache.flink.streaming.api.operators.OneInputStreamOperator {

  private static final int VALUE = 2;

  private final int[] lengths;

  public Scatter(
      Object[] references,
      org.apache.flink.streaming.runtime.tasks.StreamTask task,
      org.apache.flink.streaming.api.graph.StreamConfig config,
      org.apache.flink.streaming.api.operators.Output output,
      org.apache.flink.streaming.runtime.tasks.ProcessingTimeService clock) {
    setup(task, config, output);
    setProcessingTimeService(clock);
    lengths = new int[((Integer) references[0]).intValue()];
  }

  public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element) throws Exception {
    java.nio.ByteBuffer frame = java.nio.ByteBuffer.wrap((byte[]) element.getValue());
    while (frame.hasRemaining()) {
      output.collect(new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(next(frame)));
    }
  }

  private org.apache.flink.types.Row next(java.nio.ByteBuffer frame) {
    for (int i = 0; i < lengths.length; i++) {
      lengths[i] = frame.getInt();
    }
    org.apache.flink.types.Row row = new org.apache.flink.types.Row(lengths.length);
    for (int i = 0; i < lengths.length; i++) {
      if (lengths[i] >= 0) {
        byte[] field = new byte[lengths[i]];
        frame.get(field);
        row.setField(i, i == VALUE ? (Object) field : new String(field, java.nio.charset.StandardCharsets.UTF_8));
      }
    }
    return row;
  }
}

/** Puts a row into a row with its key, its first columns joined by line breaks. Rows that take back an earlier one are dropped. */
public class AddKey extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
    implements org.apache.flink.streaming.api.operators.OneInputStreamOperator {

  private final int columns;

  public AddKey(
      Object[] references,
      org.apache.flink.streaming.runtime.tasks.StreamTask task,
      org.apache.flink.streaming.api.graph.StreamConfig config,
      org.apache.flink.streaming.api.operators.Output output,
      org.apache.flink.streaming.runtime.tasks.ProcessingTimeService clock) {
    setup(task, config, output);
    setProcessingTimeService(clock);
    columns = ((Integer) references[0]).intValue();
  }

  public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element) throws Exception {
    org.apache.flink.types.Row row = (org.apache.flink.types.Row) element.getValue();
    org.apache.flink.types.RowKind kind = row.getKind();
    if (kind == org.apache.flink.types.RowKind.UPDATE_BEFORE || kind == org.apache.flink.types.RowKind.DELETE) {
      return;
    }
    StringBuilder key = new StringBuilder();
    for (int i = 0; i < columns; i++) {
      key.append(i == 0 ? "" : "\n").append(row.getField(i));
    }
    output.collect(
        new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(
            org.apache.flink.types.Row.of(new Object[] {key.toString(), row})));
  }
}

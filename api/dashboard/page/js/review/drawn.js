// Why a text is in the queue.

export const DRAWN = {
  random: { name: "random", means: "drawn at random: these say how right the model is" },
  uncertain: { name: "uncertain", means: "the model is not sure" },
  diverse: { name: "unlike others", means: "unlike what was labelled so far" },
  new: { name: "maybe new", means: "may belong to a class that is not known" },
  wrong: { name: "called wrong", means: "someone said that the prediction is wrong" },
};

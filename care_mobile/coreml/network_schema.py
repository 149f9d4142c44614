"""The part of Core ML's format that neural networks use: `.mlmodel` files before ML Programs.

Written as in `schema.py`. Of the layers only what holds weights or other layers is listed; numbers
are those of Apple's published `NeuralNetwork.proto`.
"""

from __future__ import annotations

NETWORK = """
NeuralNetwork: layers=1:[NeuralNetworkLayer]
NeuralNetworkClassifier: layers=1:[NeuralNetworkLayer]
NeuralNetworkRegressor: layers=1:[NeuralNetworkLayer]
NeuralNetworkLayer: name=1:string input=2:[string] output=3:[string]
 convolution=100:ConvolutionLayerParams pooling=120:Any activation=130:ActivationParams
 innerProduct=140:InnerProductLayerParams embedding=150:EmbeddingLayerParams
 batchnorm=160:BatchnormLayerParams mvn=165:Any l2normalize=170:Any softmax=175:Any lrn=180:Any
 crop=190:Any padding=200:Any upsample=210:Any resizeBilinear=211:Any cropResize=212:Any
 unary=220:Any add=230:Any multiply=231:Any average=240:Any scale=245:ScaleLayerParams
 bias=250:BiasLayerParams max=260:Any min=261:Any dot=270:Any reduce=280:Any
 loadConstant=290:LoadConstantLayerParams reshape=300:Any flatten=301:Any permute=310:Any
 concat=320:Any split=330:Any sequenceRepeat=340:Any reorganizeData=345:Any slice=350:Any
 simpleRecurrent=400:SimpleRecurrentLayerParams gru=410:GRULayerParams
 uniDirectionalLSTM=420:UniDirectionalLSTMLayerParams
 biDirectionalLSTM=430:BiDirectionalLSTMLayerParams custom=500:CustomLayerParams copy=600:Any
 branch=605:BranchLayerParams loop=615:LoopLayerParams loopBreak=620:Any loopContinue=625:Any
 rangeStatic=635:Any rangeDynamic=640:Any clip=660:Any ceil=665:Any floor=670:Any sign=680:Any
 round=685:Any exp2=700:Any sin=710:Any cos=715:Any tan=720:Any asin=730:Any acos=735:Any
 atan=740:Any sinh=750:Any cosh=755:Any tanh=760:Any asinh=770:Any acosh=775:Any atanh=780:Any
 erf=790:Any gelu=795:Any equal=815:Any notEqual=820:Any lessThan=825:Any lessEqual=827:Any
 greaterThan=830:Any greaterEqual=832:Any logicalOr=840:Any logicalXor=845:Any logicalNot=850:Any
 logicalAnd=855:Any modBroadcastable=865:Any minBroadcastable=870:Any maxBroadcastable=875:Any
 addBroadcastable=880:Any powBroadcastable=885:Any divideBroadcastable=890:Any
 floorDivBroadcastable=895:Any multiplyBroadcastable=900:Any subtractBroadcastable=905:Any
 tile=920:Any stack=925:Any gather=930:Any scatter=935:Any gatherND=940:Any scatterND=945:Any
 softmaxND=950:Any gatherAlongAxis=952:Any scatterAlongAxis=954:Any reverse=960:Any
 reverseSeq=965:Any splitND=975:Any concatND=980:Any transpose=985:Any sliceStatic=995:Any
 sliceDynamic=1000:Any slidingWindows=1005:Any topK=1015:Any argMin=1020:Any argMax=1025:Any
 embeddingND=1040:EmbeddingNDLayerParams batchedMatmul=1045:BatchedMatMulLayerParams
 getShape=1065:Any loadConstantND=1070:LoadConstantNDLayerParams fillLike=1080:Any
 fillStatic=1085:Any fillDynamic=1090:Any broadcastToLike=1100:Any broadcastToStatic=1105:Any
 broadcastToDynamic=1110:Any squeeze=1120:Any expandDims=1125:Any flattenTo2D=1130:Any
 reshapeLike=1135:Any reshapeStatic=1140:Any reshapeDynamic=1145:Any
 rankPreservingReshape=1150:Any constantPad=1155:Any randomNormalLike=1170:Any
 randomNormalStatic=1175:Any randomNormalDynamic=1180:Any randomUniformLike=1190:Any
 randomUniformStatic=1195:Any randomUniformDynamic=1200:Any randomBernoulliLike=1210:Any
 randomBernoulliStatic=1215:Any randomBernoulliDynamic=1220:Any categoricalDistribution=1230:Any
 reduceL1=1250:Any reduceL2=1255:Any reduceMax=1260:Any reduceMin=1265:Any reduceSum=1270:Any
 reduceProd=1275:Any reduceMean=1280:Any reduceLogSum=1285:Any reduceSumSquare=1290:Any
 reduceLogSumExp=1295:Any whereNonZero=1313:Any matrixBandPart=1315:Any lowerTriangular=1320:Any
 upperTriangular=1325:Any whereBroadcastable=1330:Any
 layerNormalization=1350:LayerNormalizationLayerParams NonMaximumSuppression=1400:Any
 oneHot=1450:Any cumSum=1455:Any clampedReLU=1460:Any argSort=1461:Any pooling3d=1465:Any
 globalPooling3d=1466:Any sliceBySize=1470:Any convolution3d=1471:Convolution3DLayerParams
WeightParams: floatValue=1:[float] float16Value=2:bytes rawValue=30:bytes int8RawValue=31:bytes
 quantization=40:QuantizationParams
QuantizationParams: numberOfBits=1:uint64
ConvolutionLayerParams: weights=90:WeightParams bias=91:WeightParams
ActivationParams: PReLU=25:ActivationPReLU parametricSoftplus=71:ActivationParametricSoftplus
ActivationPReLU: alpha=1:WeightParams
ActivationParametricSoftplus: alpha=1:WeightParams beta=2:WeightParams
InnerProductLayerParams: weights=20:WeightParams bias=21:WeightParams
EmbeddingLayerParams: weights=20:WeightParams bias=21:WeightParams
BatchnormLayerParams: gamma=15:WeightParams beta=16:WeightParams mean=17:WeightParams
 variance=18:WeightParams
ScaleLayerParams: scale=2:WeightParams bias=5:WeightParams
BiasLayerParams: bias=2:WeightParams
LoadConstantLayerParams: data=2:WeightParams
SimpleRecurrentLayerParams: activation=10:ActivationParams weightMatrix=30:WeightParams
 recursionMatrix=31:WeightParams biasVector=32:WeightParams
GRULayerParams: activations=10:[ActivationParams] updateGateWeightMatrix=30:WeightParams
 resetGateWeightMatrix=31:WeightParams outputGateWeightMatrix=32:WeightParams
 updateGateRecursionMatrix=50:WeightParams resetGateRecursionMatrix=51:WeightParams
 outputGateRecursionMatrix=52:WeightParams updateGateBiasVector=70:WeightParams
 resetGateBiasVector=71:WeightParams outputGateBiasVector=72:WeightParams
UniDirectionalLSTMLayerParams: activations=10:[ActivationParams] weightParams=20:LSTMWeightParams
LSTMWeightParams: inputGateWeightMatrix=1:WeightParams forgetGateWeightMatrix=2:WeightParams
 blockInputWeightMatrix=3:WeightParams outputGateWeightMatrix=4:WeightParams
 inputGateRecursionMatrix=20:WeightParams forgetGateRecursionMatrix=21:WeightParams
 blockInputRecursionMatrix=22:WeightParams outputGateRecursionMatrix=23:WeightParams
 inputGateBiasVector=40:WeightParams forgetGateBiasVector=41:WeightParams
 blockInputBiasVector=42:WeightParams outputGateBiasVector=43:WeightParams
 inputGatePeepholeVector=60:WeightParams forgetGatePeepholeVector=61:WeightParams
 outputGatePeepholeVector=62:WeightParams
BiDirectionalLSTMLayerParams: activationsForwardLSTM=10:[ActivationParams]
 activationsBackwardLSTM=11:[ActivationParams] weightParams=20:[LSTMWeightParams]
CustomLayerParams: weights=20:[WeightParams]
BranchLayerParams: ifBranch=1:NeuralNetwork elseBranch=2:NeuralNetwork
LoopLayerParams: conditionNetwork=3:NeuralNetwork bodyNetwork=4:NeuralNetwork
EmbeddingNDLayerParams: weights=20:WeightParams bias=21:WeightParams
BatchedMatMulLayerParams: weights=8:WeightParams bias=9:WeightParams
LoadConstantNDLayerParams: data=2:WeightParams
LayerNormalizationLayerParams: gamma=3:WeightParams beta=4:WeightParams
Convolution3DLayerParams: weights=60:WeightParams bias=61:WeightParams
"""
